package postgres

import (
	"context"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
)

// A database that is no longer needed is renamed first, and dropped by a sweep:
// one that the server does not drop is in nobody's way under such a name.

// setAside renames those of the databases that exist.
func (d *database) setAside(ctx context.Context, conn *pgx.Conn, names ...string) error {
	for _, name := range names {
		there, err := pgclient.DatabaseExists(ctx, conn, name)
		if err != nil {
			return err
		}
		if !there {
			continue
		}
		to, err := d.freeName(ctx, conn)
		if err != nil {
			return err
		}
		err = d.renameAll(ctx, conn, []rename{{name, to}}, nil)
		// Dropping removes what keeps a database from being renamed.
		if err != nil && (!pgclient.IsCode(err, "55006") || d.drop(ctx, conn, name) != nil) {
			return err
		}
		if err := d.step("drop "+name, nil); err != nil {
			return err
		}
	}
	return nil
}

// remove sets databases aside, and drops what can be dropped.
func (d *database) remove(ctx context.Context, conn *pgx.Conn, names ...string) error {
	if err := d.setAside(ctx, conn, names...); err != nil {
		return err
	}
	_, err := d.sweep(ctx, conn)
	return err
}

func (d *database) freeName(ctx context.Context, conn *pgx.Conn) (string, error) {
	for n := 1; ; n++ {
		taken, err := pgclient.DatabaseExists(ctx, conn, d.dropped(n))
		if err != nil || !taken {
			return d.dropped(n), err
		}
	}
}

func (d *database) sweep(ctx context.Context, conn *pgx.Conn) (left []source.Leftover, err error) {
	names, err := d.setAsideNames(ctx, conn)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		failed := d.drop(ctx, conn, name)
		if failed == nil {
			continue
		}
		if ctx.Err() != nil || conn.IsClosed() {
			return left, failed
		}
		l := source.Leftover{Path: "database " + name, Bytes: -1, Reason: failed.Error()}
		// Its size is good to know, no more.
		_ = conn.QueryRow(ctx, "SELECT pg_catalog.pg_database_size($1::name)", name).Scan(&l.Bytes)
		left = append(left, l)
	}
	return left, nil
}

// setAsideNames lists the databases that wait to be dropped.
func (d *database) setAsideNames(ctx context.Context, conn *pgx.Conn) ([]string, error) {
	all, err := pgclient.CollectNames(ctx, conn, `SELECT datname::text FROM pg_catalog.pg_database WHERE datname LIKE '%\_understudy\_dropped\_%' ORDER BY oid`)
	if err != nil {
		return nil, fmt.Errorf("list databases: %w", err)
	}
	var ours []string
	for _, name := range all {
		if n, ok := numberOf(name); ok && name == d.dropped(n) {
			ours = append(ours, name)
		}
	}
	return ours, nil
}

// numberOf reads the number at a name's end.
func numberOf(name string) (int, bool) {
	at := len(name)
	for at > 0 && name[at-1] >= '0' && name[at-1] <= '9' {
		at--
	}
	n, err := strconv.Atoi(name[at:])
	return n, err == nil
}

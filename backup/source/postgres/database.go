package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
	"github.com/understudy-ha/understudy/backup/source/internal/swap"
)

// database is the one that is backed up, and those beside it on its server that stand in
// for it, under names made from its own.
type database struct {
	called string
	admin  pgclient.URL // the server, as who creates and renames databases
	// fault, in tests, stops a swap after the named step.
	fault func(step string) error
}

func (d *database) name() string     { return d.called }
func (d *database) staged() string   { return d.beside("staged") }
func (d *database) staging() string  { return d.beside("staging") }  // being built
func (d *database) outdated() string { return d.beside("outdated") } // the earlier stage, being dropped
func (d *database) replaced() string { return d.beside("replaced") }
func (d *database) absent() string   { return d.beside("absent") }

func (d *database) dropped(n int) string  { return d.beside("dropped_" + strconv.Itoa(n)) }
func (d *database) kept(n int) string     { return d.beside("kept_" + strconv.Itoa(n)) }
func (d *database) restorer(n int) string { return d.beside("restorer_" + strconv.Itoa(n)) } // a role

func (d *database) beside(what string) string { return besideName(d.called, "_understudy_"+what) }

// quoted names the database in messages.
func (d *database) quoted() string { return fmt.Sprintf("database %q", d.called) }

// with calls do with a connection of the administrator's.
func (d *database) with(ctx context.Context, do func(*pgx.Conn) error) error {
	return d.admin.With(ctx, do)
}

// within calls do with one to another database of the server.
func (d *database) within(ctx context.Context, name string, do func(*pgx.Conn) error) error {
	return d.admin.To(name).With(ctx, do)
}

// maxName is the longest name of a database, in bytes. Longer ones the server
// would cut silently.
const maxName = 63

// besideName makes a name from a database's that is not too long and still
// its own.
func besideName(database, suffix string) string {
	if len(database)+len(suffix) <= maxName {
		return database + suffix
	}
	sum := sha256.Sum256([]byte(database))
	suffix = "_" + hex.EncodeToString(sum[:4]) + suffix
	cut := maxName - len(suffix)
	for !utf8.RuneStart(database[cut]) {
		cut--
	}
	return database[:cut] + suffix
}

// state reads how far a swap has come off the databases; absent is an empty one. What is staged,
// or was replaced, is closed to connections, and so may be the target while it waits.
//
// The swap is one transaction that renames both databases, so that the server
// itself sees to it that it happens wholly or not at all.
func (d *database) state(ctx context.Context, conn *pgx.Conn) (st swap.State, err error) {
	for _, e := range st.Parts(d.staged(), d.name(), d.replaced(), d.absent()) {
		if *e.To, err = pgclient.DatabaseExists(ctx, conn, e.Name); err != nil {
			return st, err
		}
	}
	return st, nil
}

// rename renames a database.
type rename struct{ from, to string }

// renameTries is how often a rename is tried: a session that was just
// beginning may come up after those before it were ended.
const renameTries = 2

// renameAll renames databases in one transaction, opens the target for
// connections in it, and calls also with it. Sessions in them are ended before.
func (d *database) renameAll(ctx context.Context, conn *pgx.Conn, renames []rename, also func(pgx.Tx) error) error {
	var err error
	for range renameTries {
		if err = d.endSessions(ctx, conn, renames); err != nil {
			return err
		}
		err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			if err := d.renameIn(ctx, tx, renames); err != nil || also == nil {
				return err
			}
			return also(tx)
		})
		if !pgclient.IsCode(err, "55006") { // object_in_use; the server has waited for five seconds
			break
		}
	}
	return d.step("renamed", err)
}

func (d *database) renameIn(ctx context.Context, tx pgx.Tx, renames []rename) error {
	for _, r := range renames {
		err := pgclient.Execute(ctx, tx, "ALTER DATABASE "+pgclient.Ident(r.from)+" RENAME TO "+pgclient.Ident(r.to))
		if err != nil {
			return fmt.Errorf("rename database %q to %q: %w", r.from, r.to, pgclient.Explained(err))
		}
		if err := d.fault("rename " + r.from); err != nil {
			return err
		}
		if r.to == d.name() {
			if err := pgclient.Execute(ctx, tx, openTo(r.to)); err != nil {
				return fmt.Errorf("open database %q: %w", r.to, err)
			}
		}
	}
	return nil
}

func (d *database) endSessions(ctx context.Context, conn *pgx.Conn, renames []rename) error {
	names := make([]string, len(renames))
	for i, r := range renames {
		names[i] = r.from
	}
	ended, err := pgclient.CollectNames(ctx, conn, `
		SELECT CASE WHEN ended AND datname = $2 AND backend_type = 'client backend' AND application_name <> 'understudy' THEN `+describedSession+` ELSE '' END
		FROM (SELECT *, pg_catalog.pg_terminate_backend(pid) AS ended FROM pg_catalog.pg_stat_activity
			WHERE datname = ANY ($1) AND pid <> pg_catalog.pg_backend_pid()) s`, names, d.name())
	if to := source.EndedOf(ctx); to != nil {
		to.Add(ended)
	}
	if err = d.step("sessions ended", err); err != nil {
		return fmt.Errorf("end sessions in %q: %w", d.name(), err)
	}
	return nil
}

// step passes a step's error on and, in tests, stops after the step.
func (d *database) step(name string, err error) error {
	if err != nil {
		return err
	}
	return d.fault(name)
}

func closeTo(name string) string {
	return "ALTER DATABASE " + pgclient.Ident(name) + " ALLOW_CONNECTIONS false"
}

func openTo(name string) string {
	return "ALTER DATABASE " + pgclient.Ident(name) + " ALLOW_CONNECTIONS true"
}

// describedSession says who is connected, and from where.
const describedSession = `pg_catalog.format('session %s of role %s (%s) in database %s from %s', pid, usename,
	coalesce(nullif(application_name, ''), 'no name'), datname, coalesce(pg_catalog.host(client_addr), 'a socket'))`

// sessions describes the first ones that are connected, but for those of this program.
func (d *database) sessions(ctx context.Context, conn *pgx.Conn) ([]string, error) {
	return pgclient.CollectNames(ctx, conn, `
		SELECT `+describedSession+`
		FROM pg_catalog.pg_stat_activity
		WHERE datname = $1 AND backend_type = 'client backend' AND application_name <> 'understudy'
		ORDER BY backend_start LIMIT 3`, d.name())
}

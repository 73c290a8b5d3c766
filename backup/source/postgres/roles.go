package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
	"github.com/understudy-ha/understudy/backup/source/postgres/internal/globals"
)

// When the roles of a server change:
//
//   - A restore makes those that are missing, and memberships that are missing,
//     for objects need their owners, and views that are computed their rights.
//   - All else is aligned in the transaction of the swap: passwords, attributes,
//     settings, what was revoked. Until then other databases of the server are
//     used as before. What was there is noted first, and taking back a swap
//     puts exactly that back, in the transaction of its renames.
//
// The alignment is rehearsed with each stage, in a transaction that is rolled
// back: what the administrator may not do is known before a promotion.

// roleBook makes the roles of the server what a backup says of them.
type roleBook struct {
	db      *database
	notes   *notes
	trusted bool // superusers of the backup are superusers here
}

// makeMissing makes what a restore needs.
func (b *roleBook) makeMissing(ctx context.Context, conn *pgx.Conn, g *globals.State) (a *globals.Aligner, err error) {
	major, err := pgclient.ServerMajor(conn)
	if err != nil {
		return nil, err
	}
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) (err error) {
		a, err = globals.MakeMissing(ctx, tx, major, g, b.trusted)
		return err
	})
	return a, err
}

func eachRole(ctx context.Context, conn *pgx.Conn, format string, names []string) error {
	for _, name := range names {
		if err := pgclient.Execute(ctx, conn, fmt.Sprintf(format, pgclient.Ident(name))); err != nil {
			return fmt.Errorf("%s: %w", fmt.Sprintf(format, pgclient.Ident(name)), pgclient.Explained(err))
		}
	}
	return nil
}

// dropUnused drops those of the roles that nothing names in the database that
// was loaded: the server itself knows of all but user mappings.
func (b *roleBook) dropUnused(ctx context.Context, names []string) error {
	return b.db.within(ctx, b.db.staging(), func(conn *pgx.Conn) error {
		mapped, err := pgclient.CollectNames(ctx, conn, "SELECT usename::text FROM pg_catalog.pg_user_mappings")
		for _, name := range names {
			if !slices.Contains(mapped, name) {
				_ = pgclient.Execute(ctx, conn, "DROP ROLE "+pgclient.Ident(name)) // it stays where it is named, and can do nothing
			}
		}
		return err
	})
}

// errRehearsed ends a transaction that was only tried.
var errRehearsed = errors.New("rehearsed")

// rehearse tries whether the roles could be aligned.
func (b *roleBook) rehearse(ctx context.Context, conn *pgx.Conn, g *globals.State) error {
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if err := b.align(ctx, conn, tx, g, b.trusted); err != nil {
			return err
		}
		return errRehearsed
	})
	if errors.Is(err, errRehearsed) {
		return nil
	}
	return fmt.Errorf("the roles could not be made what they are in the backup (make admin_url's role a superuser, or change them by hand): %w", err)
}

func (b *roleBook) align(ctx context.Context, conn *pgx.Conn, tx pgx.Tx, g *globals.State, trusted bool) error {
	major, err := pgclient.ServerMajor(conn)
	if err != nil {
		return err
	}
	return globals.Align(ctx, tx, major, g, trusted)
}

// keep notes what a backup says of roles for the swap of a database.
func (b *roleBook) keep(ctx context.Context, conn *pgx.Conn, database string, g *globals.State) error {
	oid, err := pgclient.DatabaseOID(ctx, conn, database)
	if err != nil {
		return err
	}
	return writeGlobals(b.notes.roles(oid), g)
}

// alignStaged returns what aligns the roles in the transaction of a swap, after
// it has noted what is there.
func (b *roleBook) alignStaged(ctx context.Context, conn *pgx.Conn) (func(pgx.Tx) error, error) {
	oid, err := pgclient.DatabaseOID(ctx, conn, b.db.staged())
	if err != nil {
		return nil, err
	}
	g, err := readGlobalsFile(b.notes.roles(oid))
	if err != nil {
		return nil, fmt.Errorf("read the roles of the stage: %w", err)
	}
	major, err := pgclient.ServerMajor(conn)
	if err != nil {
		return nil, err
	}
	was, err := globals.ReadHere(ctx, conn, major, g)
	if err != nil {
		return nil, err
	}
	if err := writeGlobals(b.notes.replacedRoles(), was); err != nil {
		return nil, err
	}
	return func(tx pgx.Tx) error { return b.align(ctx, conn, tx, g, b.trusted) }, nil
}

// alignBack returns what puts back, in the transaction that takes back a swap,
// what the swap changed of the roles. A swap by an earlier version of this
// program changed nothing.
func (b *roleBook) alignBack(ctx context.Context, conn *pgx.Conn) (func(pgx.Tx) error, error) {
	g, err := readGlobalsFile(b.notes.replacedRoles())
	if errors.Is(err, os.ErrNotExist) {
		return func(pgx.Tx) error { return nil }, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the roles that were replaced: %w", err)
	}
	return func(tx pgx.Tx) error { return b.align(ctx, conn, tx, g, true) }, nil
}

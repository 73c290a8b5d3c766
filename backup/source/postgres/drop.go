package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
)

// dropDatabase drops a database with whatever in it keeps a server from
// dropping it. Its publishers, if it subscribes to any, are told nothing: the
// slot there belongs to the database that goes on.
func (d *database) drop(ctx context.Context, conn *pgx.Conn, name string) error {
	drop := "DROP DATABASE IF EXISTS " + pgclient.Ident(name) + " WITH (FORCE)"
	err := pgclient.Execute(ctx, conn, drop)
	if err != nil && ctx.Err() == nil && !conn.IsClosed() {
		if err = errors.Join(pgclient.Explained(err), d.release(ctx, conn, name)); pgclient.Execute(ctx, conn, drop) == nil {
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("drop database %q: %w", name, err)
	}
	return nil
}

// release removes what keeps a database that is to be dropped from that:
// subscriptions, prepared transactions, slots in use, the flag of a template.
func (d *database) release(ctx context.Context, conn *pgx.Conn, name string) error {
	var super bool
	if err := conn.QueryRow(ctx, "SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user").Scan(&super); err != nil {
		return fmt.Errorf("read rights: %w", err)
	}
	if super {
		// Its subscriptions stop before it is opened: for as long as one ran it
		// would take from the publisher what the database that goes on needs.
		// ALTER SUBSCRIPTION works only from within the database.
		if err := pgclient.Execute(ctx, conn, "SET allow_system_table_mods TO on"); err != nil {
			return fmt.Errorf("disable subscriptions of %q: %w", name, err)
		}
		_, err := conn.Exec(ctx, `
			UPDATE pg_catalog.pg_subscription SET subenabled = false
			WHERE subenabled AND subdbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = $1)`, name)
		if err = errors.Join(err, pgclient.Execute(ctx, conn, "RESET allow_system_table_mods")); err != nil {
			return fmt.Errorf("disable subscriptions of %q: %w", name, err)
		}
	}
	err := pgclient.Execute(ctx, conn, "ALTER DATABASE "+pgclient.Ident(name)+" IS_TEMPLATE false ALLOW_CONNECTIONS true CONNECTION LIMIT -1")
	if err != nil {
		return fmt.Errorf("open database %q: %w", name, err)
	}
	err = d.admin.To(name).With(ctx, func(inside *pgx.Conn) error { return releaseWithin(ctx, inside, super) })
	if err := errors.Join(err, pgclient.Execute(ctx, conn, closeTo(name))); err != nil {
		return err
	}
	return endSlots(ctx, conn, name)
}

// releaseWithin does of release what is done within the database.
func releaseWithin(ctx context.Context, conn *pgx.Conn, super bool) error {
	if super { // no trigger of the database's has a say
		if err := pgclient.Execute(ctx, conn, "SET session_replication_role TO replica"); err != nil {
			return err
		}
	}
	for _, each := range []struct {
		query string
		do    []string // with %[1]s for the name
	}{
		{"SELECT quote_ident(evtname) FROM pg_catalog.pg_event_trigger WHERE evtenabled <> 'D'", []string{"ALTER EVENT TRIGGER %[1]s DISABLE"}},
		{"SELECT quote_literal(gid) FROM pg_catalog.pg_prepared_xacts WHERE database = current_database()", []string{"ROLLBACK PREPARED %[1]s"}},
		{
			"SELECT quote_ident(subname) FROM pg_catalog.pg_subscription WHERE subdbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())",
			[]string{
				"ALTER SUBSCRIPTION %[1]s DISABLE", "ALTER SUBSCRIPTION %[1]s SET (slot_name = NONE)",
				// Whatever is still being copied has a slot of its own there:
				// DROP would ask the publisher to drop that.
				"ALTER SUBSCRIPTION %[1]s CONNECTION 'host=/nowhere dbname=none user=none password=none'",
				"DROP SUBSCRIPTION %[1]s",
			},
		},
	} {
		names, err := pgclient.CollectNames(ctx, conn, each.query)
		if err != nil {
			return err
		}
		for _, name := range names {
			for _, sql := range each.do {
				if err := pgclient.Execute(ctx, conn, fmt.Sprintf(sql, name)); err != nil {
					return fmt.Errorf("%s: %w", fmt.Sprintf(sql, name), err)
				}
			}
		}
	}
	return nil
}

// slotTries times a tenth of a second is how long a session that was told to
// end may hold its slot.
const slotTries = 50

// endSlots ends who reads from a database's replication slots: the slots go
// with the database, unless somebody uses them.
func endSlots(ctx context.Context, conn *pgx.Conn, name string) error {
	for range slotTries {
		tag, err := conn.Exec(ctx, `
			SELECT pg_catalog.pg_terminate_backend(active_pid), pg_catalog.pg_sleep(0.1)
			FROM pg_catalog.pg_replication_slots WHERE database = $1 AND active_pid IS NOT NULL`, name)
		if err != nil {
			return fmt.Errorf("end who uses replication slots of %q: %w", name, err)
		}
		if tag.RowsAffected() == 0 {
			return nil
		}
	}
	return fmt.Errorf("replication slots of %q stay in use", name)
}

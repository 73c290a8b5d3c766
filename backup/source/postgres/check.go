package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
)

// checker looks whether a database can be dumped, and replaced.
type checker struct {
	db      *database
	url     pgclient.URL
	scratch string
	noAdmin bool // no admin_url is set: the application's own role is the administrator
}

// check looks for the tools and the administrator's rights, and whether the
// database is there.
func (c *checker) check(ctx context.Context) (there bool, err error) {
	if err := fsx.MakeScratch(c.scratch); err != nil {
		return false, err
	}
	var major int
	err = c.db.with(ctx, func(conn *pgx.Conn) error {
		var err error
		if major, err = pgclient.ServerMajor(conn); err != nil {
			return err
		}
		if err := checkRights(ctx, conn); err != nil {
			return err
		}
		there, err = pgclient.DatabaseExists(ctx, conn, c.db.name())
		return err
	})
	if err != nil {
		return false, c.adminTrouble(err)
	}
	for _, tool := range []string{"pg_dump", "pg_restore"} {
		if _, err := pgclient.FindTool(ctx, tool, major); err != nil {
			return false, err
		}
	}
	return there, nil
}

// replaceable looks whether the database that is there could be renamed,
// and whether the role that dumps can connect afterwards: where the
// administrator dumps, url's role may be any, and the swap sets its password.
func (c *checker) replaceable(ctx context.Context) error {
	var super bool
	err := c.db.with(ctx, func(conn *pgx.Conn) error {
		super = pgclient.IsSuper(conn)
		prepared, err := pgclient.CollectNames(ctx, conn, "SELECT gid FROM pg_catalog.pg_prepared_xacts WHERE database = $1", c.db.name())
		if err == nil && len(prepared) > 0 {
			err = fmt.Errorf("database %q cannot be replaced while it has prepared transactions (%s): commit them or roll them back", c.db.name(), strings.Join(prepared, ", "))
		}
		return err
	})
	if err != nil || super {
		return err
	}
	return c.checkUser(ctx)
}

func (c *checker) checkURL(ctx context.Context) error {
	err := c.url.With(ctx, func(conn *pgx.Conn) error { return checkExtensions(ctx, conn) })
	if err != nil {
		return fmt.Errorf("check url: %w", err)
	}
	return nil
}

// checkUser is checkURL, unless the user is still to be made.
func (c *checker) checkUser(ctx context.Context) error {
	failed := c.checkURL(ctx)
	if failed == nil {
		return nil
	}
	return c.db.with(ctx, func(conn *pgx.Conn) error {
		var there bool
		err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = $1)", c.url.User()).Scan(&there)
		if err == nil && there {
			err = failed
		}
		return err
	})
}

// adminTrouble says what to do about an administrator who cannot connect. On a
// new host the application's own role, which is asked where there is no
// admin_url, does not exist.
func (c *checker) adminTrouble(err error) error {
	refused := pgclient.IsCode(err, "28000") || pgclient.IsCode(err, "28P01") // no such role, wrong password
	if !c.noAdmin || !refused {
		return fmt.Errorf("check admin_url: %w", err)
	}
	user := pgclient.Ident(c.url.User())
	return fmt.Errorf("%w: a new host needs an administrator who makes database and roles: set admin_url to a superuser's; or, as a superuser, run there: CREATE ROLE %s LOGIN CREATEDB CREATEROLE PASSWORD '…'; GRANT pg_signal_backend TO %s", err, user, user)
}

// checkRights fails unless the user may do what a restore needs.
func checkRights(ctx context.Context, conn *pgx.Conn) error {
	var user string
	var super, createDB, createRole, signal bool
	err := conn.QueryRow(ctx, `
		SELECT rolname, rolsuper, rolcreatedb, rolcreaterole, pg_has_role('pg_signal_backend', 'USAGE')
		FROM pg_catalog.pg_roles WHERE rolname = current_user`).Scan(&user, &super, &createDB, &createRole, &signal)
	if err != nil {
		return fmt.Errorf("read rights: %w", err)
	}
	if super || createDB && createRole && signal {
		return nil
	}
	return fmt.Errorf("role %q cannot restore: make it a superuser, or give it CREATEDB, CREATEROLE and pg_signal_backend", user)
}

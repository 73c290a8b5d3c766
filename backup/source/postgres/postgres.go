// Package postgres is the kind of source that is one database of a PostgreSQL server,
// with the roles that it needs. pg_dump dumps it, and a stage is another database of
// the server, which a swap gives the name of the first.
//
// Below it: client (connections and programs), globals (roles and what belongs to a
// database), archive (what is in a dump, and who restores it), compare (two dumps).
package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/swap"
	"github.com/understudy-ha/understudy/backup/source/postgres/internal/client"
)

const kind = "postgres"

func init() {
	source.Register(source.Kind{
		Name: kind, Export: exportEntry, Compare: compareDumps,
		Lost: source.LostFacts[Facts], Since: since,
	})
}

// Config describes a PostgreSQL database.
type Config struct {
	// URL names the database and a user who may dump it: all of its objects.
	// (postgres://user:password@host:port/database?…)
	URL string
	// AdminURL is the same server as a user who creates and renames databases
	// and roles, connected to another database. Empty: URL's user, connected
	// to the database "postgres".
	AdminURL string
	// Scratch is a folder for the dump while it is restored.
	Scratch string
	// TrustSuperusers lets a restore make superusers of roles that were some
	// where the backup was made.
	TrustSuperusers bool
	// RestoreURL names a role, without a superuser's rights, as which a dump is
	// restored. Empty: one that is made for each restore.
	RestoreURL string
	// Trust names what of a dump is restored with a superuser's rights
	// ("function public.f(integer)"); "all" for everything.
	Trust []string
	// LockTimeout is how long a dump waits for one lock; 0 chooses.
	LockTimeout time.Duration
	// Jobs is how many tables and indexes a restore builds at a time; 0
	// chooses.
	Jobs int
	// Now tells the time; nil for time.Now.
	Now func() time.Time
}

// defaultLockTimeout outlasts what an application locks for in its daily work,
// and not its migrations.
const defaultLockTimeout = time.Minute

// Source is one PostgreSQL database, with the roles that its objects name.
//
// A dump is pg_dump's custom format, uncompressed, so that unchanged rows are
// unchanged chunks; its second stream holds what pg_dump leaves out: roles,
// memberships, and what belongs to the database itself. Tablespaces are not
// kept: all is restored into the server's default one. Roles that exist where
// a dump is restored are left as they are, for other databases use them too.
type Source struct {
	name     string
	cfg      Config
	url      client.URL
	admin    client.URL
	restore  client.URL
	snapshot *snapshotWatch
	// restorable is whether a restore was seen to be able to connect as its role.
	restorable atomic.Bool
	// locales are the last ones that the server was seen to have.
	locales atomic.Pointer[string]
	// openedWith is what had been written to the stage when it was opened.
	openedWith string
	// fault, in tests, stops the swap after the named step.
	fault func(step string) error
}

var (
	_ source.Source         = (*Source)(nil)
	_ source.Sweeper        = (*Source)(nil)
	_ source.Stager         = (*Source)(nil)
	_ source.RestoreChecker = (*Source)(nil)
	_ source.Keeper         = (*Source)(nil)
	_ source.Inspector      = (*Source)(nil)
	_ source.Connected      = (*Source)(nil)
	_ source.Shut           = (*Source)(nil)
	_ source.Positioner     = (*Source)(nil)
	_ source.Snapshotter    = (*Source)(nil)
)

// New makes a PostgreSQL source. It does not connect.
func New(name string, cfg Config) (*Source, error) {
	p, err := newPostgres(name, cfg)
	if err != nil {
		return nil, fmt.Errorf("source %s: postgres: %w", name, err)
	}
	return p, nil
}

func newPostgres(name string, cfg Config) (*Source, error) {
	if cfg.Scratch == "" {
		return nil, errors.New("scratch folder is missing")
	}
	if cfg.Jobs <= 0 {
		cfg.Jobs = min(runtime.NumCPU(), 8)
	}
	if cfg.LockTimeout <= 0 {
		cfg.LockTimeout = defaultLockTimeout
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	url, err := client.ParseURL(cfg.URL, cfg.LockTimeout)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	admin := url.To("postgres")
	if cfg.AdminURL != "" {
		if admin, err = client.ParseURL(cfg.AdminURL, cfg.LockTimeout); err != nil {
			return nil, fmt.Errorf("admin_url: %w", err)
		}
	}
	var restore client.URL
	if cfg.RestoreURL != "" {
		if restore, err = client.ParseURL(cfg.RestoreURL, cfg.LockTimeout); err != nil {
			return nil, fmt.Errorf("restore_url: %w", err)
		}
	}
	if admin.Database() == url.Database() {
		return nil, fmt.Errorf("admin_url: %q is the database to be replaced: name another one, such as postgres", admin.Database())
	}
	return &Source{name: name, cfg: cfg, url: url, admin: admin, restore: restore, snapshot: &snapshotWatch{now: cfg.Now}, fault: swap.NoFault}, nil
}

// Name implements Source.
func (p *Source) Name() string { return p.name }

// Kind implements Source.
func (p *Source) Kind() string { return kind }

// Staged is the name of the staged database, on the same server.
func (p *Source) Staged() string { return besideName(p.url.Database(), "_understudy_staged") }

// target names the database; the others are its stand-ins.
func (p *Source) target() string   { return p.url.Database() }
func (p *Source) staging() string  { return besideName(p.url.Database(), "_understudy_staging") }  // being built
func (p *Source) outdated() string { return besideName(p.url.Database(), "_understudy_outdated") } // the earlier stage, being dropped
func (p *Source) replaced() string { return besideName(p.url.Database(), "_understudy_replaced") }
func (p *Source) absent() string   { return besideName(p.url.Database(), "_understudy_absent") }

// archive is where the dump is while it is restored.
func (p *Source) archive() string { return filepath.Join(p.cfg.Scratch, "dump.pgc") }

// withAdmin calls do with a connection of the administrator's.
func (p *Source) withAdmin(ctx context.Context, do func(*pgx.Conn) error) error {
	return p.admin.With(ctx, do)
}

// Check looks for the tools, and for servers, versions and rights on both URLs.
// When nothing but the database is missing the error wraps fs.ErrNotExist.
func (p *Source) Check(ctx context.Context) error {
	there, err := p.check(ctx)
	if err == nil && !there {
		err = fmt.Errorf("there is no database %q on the server: check url, or start the application once: %w", p.target(), fs.ErrNotExist)
	}
	if err == nil {
		err = p.checkURL(ctx)
	}
	if err != nil {
		return fmt.Errorf("source %s: %w", p.name, err)
	}
	return nil
}

// CheckRestore is the part of Check that a restore needs: neither the database
// nor its roles have to exist, because they are made.
func (p *Source) CheckRestore(ctx context.Context) error {
	there, err := p.check(ctx)
	if err == nil && there {
		err = p.checkReplaceable(ctx)
	}
	if err == nil {
		err = p.withAdmin(ctx, func(conn *pgx.Conn) error { return p.checkRestorer(ctx, conn) })
	}
	if err != nil {
		return fmt.Errorf("source %s: %w", p.name, err)
	}
	return nil
}

// checkReplaceable looks whether the database that is there could be renamed,
// and whether the role that dumps can connect afterwards: where the
// administrator dumps, url's role may be any, and the swap sets its password.
func (p *Source) checkReplaceable(ctx context.Context) error {
	var super bool
	err := p.withAdmin(ctx, func(conn *pgx.Conn) error {
		super = client.IsSuper(conn)
		prepared, err := client.CollectNames(ctx, conn, "SELECT gid FROM pg_catalog.pg_prepared_xacts WHERE database = $1", p.target())
		if err == nil && len(prepared) > 0 {
			err = fmt.Errorf("database %q cannot be replaced while it has prepared transactions (%s): commit them or roll them back", p.target(), strings.Join(prepared, ", "))
		}
		return err
	})
	if err != nil || super {
		return err
	}
	return p.checkUser(ctx)
}

// check looks for the tools and the administrator's rights, and whether the
// database is there.
func (p *Source) check(ctx context.Context) (there bool, err error) {
	if err := fsx.MakeScratch(p.cfg.Scratch); err != nil {
		return false, err
	}
	var major int
	err = p.withAdmin(ctx, func(conn *pgx.Conn) error {
		var err error
		if major, err = client.ServerMajor(conn); err != nil {
			return err
		}
		if err := checkRights(ctx, conn); err != nil {
			return err
		}
		there, err = client.DatabaseExists(ctx, conn, p.target())
		return err
	})
	if err != nil {
		return false, p.adminTrouble(err)
	}
	for _, tool := range []string{"pg_dump", "pg_restore"} {
		if _, err := client.FindTool(ctx, tool, major); err != nil {
			return false, err
		}
	}
	return there, nil
}

func (p *Source) checkURL(ctx context.Context) error {
	err := p.url.With(ctx, func(conn *pgx.Conn) error { return checkExtensions(ctx, conn) })
	if err != nil {
		return fmt.Errorf("check url: %w", err)
	}
	return nil
}

// checkUser is checkURL, unless the user is still to be made.
func (p *Source) checkUser(ctx context.Context) error {
	failed := p.checkURL(ctx)
	if failed == nil {
		return nil
	}
	return p.withAdmin(ctx, func(conn *pgx.Conn) error {
		var there bool
		err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = $1)", p.url.User()).Scan(&there)
		if err == nil && there {
			err = failed
		}
		return err
	})
}

// adminTrouble says what to do about an administrator who cannot connect. On a
// new host the application's own role, which is asked where there is no
// admin_url, does not exist.
func (p *Source) adminTrouble(err error) error {
	refused := client.IsCode(err, "28000") || client.IsCode(err, "28P01") // no such role, wrong password
	if p.cfg.AdminURL != "" || !refused {
		return fmt.Errorf("check admin_url: %w", err)
	}
	user := client.Ident(p.url.User())
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

// Package postgres is the kind of source that is one database of a PostgreSQL server,
// with the roles that it needs. pg_dump dumps it, and a stage is another database of
// the server, which a swap gives the name of the first.
//
// Below it: globals (roles and what belongs to a database), archive (what is in a dump,
// and who restores it), compare (two dumps). Package pgclient has connections and programs.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
	"github.com/understudy-ha/understudy/backup/source/internal/swap"
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
	name      string
	db        *database
	notes     *notes
	stage     *stage
	locales   *locales
	restorers *restorers
	checker   *checker
	dumper    *dumper
	stager    *stager
	swapper   *swapper
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
	url, err := pgclient.ParseURL(cfg.URL, cfg.LockTimeout)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	admin := url.To("postgres")
	if cfg.AdminURL != "" {
		if admin, err = pgclient.ParseURL(cfg.AdminURL, cfg.LockTimeout); err != nil {
			return nil, fmt.Errorf("admin_url: %w", err)
		}
	}
	var restore pgclient.URL
	if cfg.RestoreURL != "" {
		if restore, err = pgclient.ParseURL(cfg.RestoreURL, cfg.LockTimeout); err != nil {
			return nil, fmt.Errorf("restore_url: %w", err)
		}
	}
	if admin.Database() == url.Database() {
		return nil, fmt.Errorf("admin_url: %q is the database to be replaced: name another one, such as postgres", admin.Database())
	}
	return assemble(name, cfg, url, admin, restore), nil
}

// assemble makes the parts, each with those that it needs.
func assemble(name string, cfg Config, url, admin, restore pgclient.URL) *Source {
	db := &database{called: url.Database(), admin: admin, fault: swap.NoFault}
	files := &notes{dir: cfg.Scratch}
	beside := &stage{db: db, notes: files}
	roles := &roleBook{db: db, notes: files, trusted: cfg.TrustSuperusers}
	known := &locales{}
	who := &restorers{db: db, user: url.User(), trust: cfg.Trust}
	if cfg.RestoreURL != "" {
		who.given = &restore
	}
	return &Source{
		name: name, db: db, notes: files, stage: beside, locales: known, restorers: who,
		checker: &checker{db: db, url: url, scratch: cfg.Scratch, noAdmin: cfg.AdminURL == ""},
		dumper:  &dumper{name: name, db: db, url: url, watch: &snapshotWatch{now: cfg.Now}, lockTimeout: cfg.LockTimeout, trusted: cfg.TrustSuperusers},
		stager:  &stager{db: db, notes: files, stage: beside, roles: roles, locales: known, restorers: who, jobs: cfg.Jobs, trust: cfg.Trust},
		swapper: &swapper{db: db, notes: files, stage: beside, roles: roles},
	}
}

// Name implements Source.
func (p *Source) Name() string { return p.name }

// Kind implements Source.
func (p *Source) Kind() string { return kind }

// Staged is the name of the staged database, on the same server.
func (p *Source) Staged() string { return p.db.staged() }

// do does something with a connection of the administrator's. The verb has %s for the
// source's name.
func (p *Source) do(ctx context.Context, verb string, what func(context.Context, *pgx.Conn) error) error {
	err := p.db.with(ctx, func(conn *pgx.Conn) error { return what(ctx, conn) })
	if err != nil {
		return fmt.Errorf(verb+": %w", p.name, err)
	}
	return nil
}

// learn is do for what returns something.
func learn[T any](ctx context.Context, p *Source, verb string, what func(context.Context, *pgx.Conn) (T, error)) (got T, err error) {
	err = p.do(ctx, verb, func(ctx context.Context, conn *pgx.Conn) error {
		got, err = what(ctx, conn)
		return err
	})
	return got, err
}

// Check looks for the tools, and for servers, versions and rights on both URLs.
// When nothing but the database is missing the error wraps fs.ErrNotExist.
func (p *Source) Check(ctx context.Context) error {
	there, err := p.checker.check(ctx)
	if err == nil && !there {
		err = fmt.Errorf("there is no database %q on the server: check url, or start the application once: %w", p.db.name(), fs.ErrNotExist)
	}
	if err == nil {
		err = p.checker.checkURL(ctx)
	}
	if err != nil {
		return fmt.Errorf("source %s: %w", p.name, err)
	}
	return nil
}

// CheckRestore is the part of Check that a restore needs: neither the database
// nor its roles have to exist, because they are made.
func (p *Source) CheckRestore(ctx context.Context) error {
	there, err := p.checker.check(ctx)
	if err == nil && there {
		err = p.checker.replaceable(ctx)
	}
	if err == nil {
		err = p.db.with(ctx, func(conn *pgx.Conn) error { return p.restorers.check(ctx, conn) })
	}
	if err != nil {
		return fmt.Errorf("source %s: %w", p.name, err)
	}
	return nil
}

// Dump streams pg_dump's output into w.
func (p *Source) Dump(ctx context.Context, w *pack.Writer, prev *source.Previous) (source.Entry, error) {
	e, err := p.dumper.dump(ctx, w, prev)
	if err != nil {
		return source.Entry{}, fmt.Errorf("dump %s: %w", p.name, err)
	}
	return e, nil
}

// Position implements Positioner: the server's position in its write-ahead log.
func (p *Source) Position(ctx context.Context) (string, error) {
	return learn(ctx, p, "ask %s for its position", position)
}

// SnapshotAge implements Snapshotter.
func (p *Source) SnapshotAge() (now, last time.Duration) { return p.dumper.watch.age() }

// Sessions implements Connected.
func (p *Source) Sessions(ctx context.Context) ([]string, error) {
	return learn(ctx, p, "look who is connected to %s", p.db.sessions)
}

// Space implements Restorer: the dump, as pg_restore needs it to be a file.
// The server's own folder may be out of sight; Stage looks at it.
func (p *Source) Space(e source.Entry) (string, int64) { return p.notes.dir, e.Root.Size }

// Accept implements Restorer: a server restores what is of its own version or
// an older one.
func (p *Source) Accept(ctx context.Context, e source.Entry) error {
	return p.do(ctx, "restore %s", func(ctx context.Context, conn *pgx.Conn) error {
		facts, _, err := accept(ctx, conn, e)
		if err == nil {
			err = p.locales.accept(ctx, conn, facts)
		}
		return err
	})
}

// Stage restores the dump into a new database, on the target's server. The
// earlier stage stays until the new one is whole.
func (p *Source) Stage(ctx context.Context, r *pack.Reader, e source.Entry) error {
	return p.do(ctx, "stage %s", func(ctx context.Context, conn *pgx.Conn) error { return p.stager.restore(ctx, conn, r, e) })
}

// Fingerprint implements Restorer: which server it is, which of its databases, and
// what the backup says of roles.
func (p *Source) Fingerprint(ctx context.Context) (string, error) {
	return learn(ctx, p, "look at the stage of %s", p.stage.fingerprint)
}

// Inspect implements Inspector: a database that somebody has opened is damaged as
// a whole.
func (p *Source) Inspect(ctx context.Context) (source.Inspection, error) {
	return learn(ctx, p, "look at the stage of %s", p.stage.inspect)
}

// OpenStage implements Shut.
func (p *Source) OpenStage(ctx context.Context) error {
	return p.do(ctx, "open the stage of %s", p.stage.open)
}

// CloseStage implements Shut. Who wrote shows in what the server counts.
func (p *Source) CloseStage(ctx context.Context) error {
	return p.do(ctx, "close the stage of %s", p.stage.close)
}

// Swap implements Restorer. Sessions in the target are ended.
func (p *Source) Swap(ctx context.Context) error { return p.do(ctx, "swap %s", p.swapper.swap) }

// SwapBack implements Restorer. Sessions in the target are ended.
func (p *Source) SwapBack(ctx context.Context) error {
	return p.do(ctx, "swap back %s", p.swapper.swapBack)
}

// Discard implements Restorer.
func (p *Source) Discard(ctx context.Context) error {
	return p.do(ctx, "discard %s", p.swapper.discard)
}

// Reach implements Restorer.
func (p *Source) Reach(ctx context.Context) (source.Reach, error) {
	return learn(ctx, p, "look how far the swap of %s has come", p.swapper.reach)
}

// Keep implements Restorer. The database stays closed to connections: it may have
// subscriptions, which would run.
func (p *Source) Keep(ctx context.Context) (string, error) {
	return learn(ctx, p, "keep what was replaced of %s", p.swapper.keep)
}

// Keeps implements source.Keeper.
func (p *Source) Keeps(kept string) bool { return p.swapper.keeps(kept) }

// IsKept implements source.Keeper.
func (p *Source) IsKept(ctx context.Context, kept string) (there bool, err error) {
	err = p.db.with(ctx, func(conn *pgx.Conn) (err error) {
		there, err = pgclient.DatabaseExists(ctx, conn, strings.TrimPrefix(kept, keptPrefix))
		return err
	})
	return there, err
}

// Sweep implements Sweeper.
func (p *Source) Sweep(ctx context.Context) ([]source.Leftover, error) {
	return learn(ctx, p, "drop what is left of %s", p.db.sweep)
}

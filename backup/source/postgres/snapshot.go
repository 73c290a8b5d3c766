package postgres

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
	"github.com/understudy-ha/understudy/backup/source/postgres/internal/globals"
)

// dumpSnapshot is a transaction whose snapshot the dump shares, so that roles,
// facts and rows are of one moment.
type dumpSnapshot struct {
	conn    *pgx.Conn
	id      string
	dumper  pgclient.URL // who dumps
	super   bool         // and is a superuser
	watch   *snapshotWatch
	facts   Facts
	globals globals.State
}

// open begins the transaction and gathers in it what pg_dump leaves out. A
// superuser dumps, where one of the two URLs names one: to any other role the
// server does not show all, or not all rows. Else url's role dumps, and the
// administrator, who may read the roles' passwords, gathers.
func (d *dumper) open(ctx context.Context) (*dumpSnapshot, error) {
	admin := d.db.admin.To(d.db.name())
	conn, err := admin.Connect(ctx)
	if err != nil {
		return nil, err
	}
	s := &dumpSnapshot{conn: conn, dumper: admin, super: pgclient.IsSuper(conn), watch: d.watch}
	if !s.super && d.url.User() != admin.User() {
		s.dumper = d.url
		if conn, err = d.url.Connect(ctx); err != nil {
			pgclient.CloseConn(ctx, s.conn)
			return nil, err
		}
		if s.super = pgclient.IsSuper(conn); s.super {
			s.conn, conn = conn, s.conn
		}
		pgclient.CloseConn(ctx, conn)
	}
	if err := s.begin(ctx, d.url.User()); err != nil {
		s.close(ctx)
		return nil, err
	}
	return s, nil
}

func (s *dumpSnapshot) begin(ctx context.Context, user string) (err error) {
	if s.facts.Major, err = pgclient.ServerMajor(s.conn); err != nil {
		return err
	}
	s.watch.begin()
	// pg_dump runs for as long as it takes, with this transaction idle.
	if _, err := s.conn.Exec(ctx, "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"); err != nil {
		return fmt.Errorf("begin snapshot: %w", err)
	}
	if err := s.conn.QueryRow(ctx, "SELECT pg_catalog.pg_export_snapshot()").Scan(&s.id); err != nil {
		return fmt.Errorf("export snapshot: %w", err)
	}
	if err := s.facts.read(ctx, s.conn); err != nil {
		return fmt.Errorf("read facts: %w", err)
	}
	if s.globals, err = globals.Read(ctx, s.conn, user); err != nil {
		return fmt.Errorf("read roles: %w", err)
	}
	d := s.globals.Database
	s.facts.Provider, s.facts.Locale, s.facts.Rules = d.Provider, d.Locale, d.Rules
	if s.facts.Collations, err = pgclient.Collect[collationFact](ctx, s.conn, sqlCollations); err != nil {
		return fmt.Errorf("read collations: %w", err)
	}
	for _, r := range s.globals.Roles {
		s.facts.Roles = append(s.facts.Roles, r.Name)
	}
	return nil
}

// close ends the snapshot, and returns for how long it was open.
func (s *dumpSnapshot) close(ctx context.Context) time.Duration {
	if s.conn.IsClosed() {
		return 0
	}
	pgclient.CloseConn(ctx, s.conn)
	return s.watch.end()
}

// countNone makes a count of no rows exact: statistics get lost in a crash, and
// lag behind. A server without any live row on record is asked for one. What
// cannot be looked into counts as one row.
func (s *dumpSnapshot) countNone(ctx context.Context) {
	var live int64
	err := s.conn.QueryRow(ctx, "SELECT coalesce(sum(pg_stat_get_live_tuples(c.oid)), 0)::bigint FROM "+ownTables).Scan(&live)
	if err != nil || s.facts.Tables == 0 || live > 0 && s.facts.Rows > 0 {
		return
	}
	s.facts.Rows = max(1, s.facts.Rows)
	// A view that somebody puts into a table's place meanwhile is not looked into:
	// what it calls would run with the rights of this session.
	_, err = s.conn.Exec(ctx, `SELECT pg_catalog.set_config(name, 'view, foreign-table', false) FROM pg_catalog.pg_settings WHERE name = 'restrict_nonsystem_relation_kind'`)
	if err != nil {
		return
	}
	names, err := pgclient.CollectNames(ctx, s.conn, "SELECT format('%I.%I', n.nspname, c.relname) FROM "+ownTables+" AND c.relkind = 'r' ORDER BY c.oid")
	if err != nil {
		return
	}
	for _, name := range names {
		var some bool
		if err := s.conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM ONLY "+name+")").Scan(&some); err != nil || some {
			return
		}
	}
	s.facts.Rows = 0
}

// sqlRows counts tables, and rows as the server's statistics know them: to look
// into the tables would mean to wait for their locks.
const sqlRows = `
SELECT count(*) AS tables, coalesce(sum(greatest(c.reltuples, pg_stat_get_live_tuples(c.oid), 0)), 0)::bigint AS rows
FROM ` + ownTables

// ownTables are those of the database's own making.
const ownTables = `pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'`

// snapshotWatch knows how old a snapshot is.
type snapshotWatch struct {
	now func() time.Time

	mu    sync.Mutex
	since time.Time // zero: none is open
	last  time.Duration
}

func (w *snapshotWatch) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since = w.now()
}

// end returns for how long the snapshot was open.
func (w *snapshotWatch) end() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.since.IsZero() {
		w.last = w.now().Sub(w.since)
	}
	w.since = time.Time{}
	return w.last
}

func (w *snapshotWatch) age() (now, last time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.since.IsZero() {
		now = w.now().Sub(w.since)
	}
	return now, w.last
}

// longSnapshot is for how long a dump may hold its snapshot before the backup
// says so. As long as the snapshot is there the server keeps every dead row.
const longSnapshot = 30 * time.Minute

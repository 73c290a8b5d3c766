package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/source/postgres/internal/client"
	"github.com/understudy-ha/understudy/backup/source/postgres/internal/globals"
)

// Facts are what the manifest says of a database.
type Facts struct {
	Server     string            `json:"server_version"`
	Major      int               `json:"server_major"`
	Tool       int               `json:"pg_dump_major"`
	LSN        string            `json:"lsn"`
	Database   string            `json:"database"`
	Size       int64             `json:"size"` // of the database on disk
	Encoding   string            `json:"encoding"`
	Collate    string            `json:"collate"`
	CType      string            `json:"ctype"`
	Extensions map[string]string `json:"extensions"` // versions by name
	// Provider, Locale and Rules are what databaseProps has; nothing in backups of
	// earlier versions of this program.
	Provider string `json:"provider,omitempty"`
	Locale   string `json:"locale,omitempty"`
	Rules    string `json:"rules,omitempty"`
	// Collations are those that the database needs of its server.
	Collations []collationFact `json:"collations,omitempty"`
	// Tables counts the tables, materialised views too, and Rows their rows, as
	// far as the server knows without reading them: 0 is exact.
	Tables int64 `json:"tables"`
	Rows   int64 `json:"rows"`
	// Preloaded are those of the extensions that the server's
	// shared_preload_libraries name, as far as the dumping role may know.
	Preloaded []string `json:"preloaded,omitempty"`
	// Roles are the names of the second stream's.
	Roles []string `json:"roles,omitempty"`
}

// dumpSnapshot is a transaction whose snapshot the dump shares, so that roles,
// facts and rows are of one moment.
type dumpSnapshot struct {
	conn    *pgx.Conn
	id      string
	dumper  client.URL // who dumps
	super   bool       // and is a superuser
	watch   *snapshotWatch
	facts   Facts
	globals globals.State
}

// openDump begins the transaction and gathers in it what pg_dump leaves out. A
// superuser dumps, where one of the two URLs names one: to any other role the
// server does not show all, or not all rows. Else url's role dumps, and the
// administrator, who may read the roles' passwords, gathers.
func (p *Source) openDump(ctx context.Context) (*dumpSnapshot, error) {
	admin := p.admin.To(p.target())
	conn, err := admin.Connect(ctx)
	if err != nil {
		return nil, err
	}
	s := &dumpSnapshot{conn: conn, dumper: admin, super: client.IsSuper(conn), watch: p.snapshot}
	if !s.super && p.url.User() != admin.User() {
		s.dumper = p.url
		if conn, err = p.url.Connect(ctx); err != nil {
			client.CloseConn(ctx, s.conn)
			return nil, err
		}
		if s.super = client.IsSuper(conn); s.super {
			s.conn, conn = conn, s.conn
		}
		client.CloseConn(ctx, conn)
	}
	if err := s.begin(ctx, p.url.User()); err != nil {
		s.close(ctx)
		return nil, err
	}
	return s, nil
}

func (s *dumpSnapshot) begin(ctx context.Context, user string) (err error) {
	if s.facts.Major, err = client.ServerMajor(s.conn); err != nil {
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
	if s.facts.Collations, err = client.Collect[collationFact](ctx, s.conn, sqlCollations); err != nil {
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
	client.CloseConn(ctx, s.conn)
	return s.watch.end()
}

// serverLSN is the server's position in its write-ahead log, as text.
const serverLSN = "CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END::text"

func (f *Facts) read(ctx context.Context, conn *pgx.Conn) error {
	return conn.QueryRow(ctx, `
		SELECT current_setting('server_version'), `+serverLSN+`,
			datname, pg_database_size(oid), pg_encoding_to_char(encoding), datcollate, datctype,
			(SELECT coalesce(jsonb_object_agg(extname, extversion), '{}') FROM pg_catalog.pg_extension),
			(SELECT coalesce(array_agg(extname::text ORDER BY 1), '{}') FROM pg_catalog.pg_extension
				WHERE extname = ANY (`+preloadedLibraries+`)),
			t.tables, t.rows
		FROM pg_catalog.pg_database, (`+sqlRows+`) t WHERE datname = current_database()`).
		Scan(&f.Server, &f.LSN, &f.Database, &f.Size, &f.Encoding, &f.Collate, &f.CType, &f.Extensions, &f.Preloaded, &f.Tables, &f.Rows)
}

// preloadedLibraries is an array of the libraries that the server loads at its
// start; an empty one for who may not know.
const preloadedLibraries = `coalesce((SELECT regexp_split_to_array(replace(setting, '"', ''), '\s*,\s*')
	FROM pg_catalog.pg_settings WHERE name = 'shared_preload_libraries'), '{}')`

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
	names, err := client.CollectNames(ctx, s.conn, "SELECT format('%I.%I', n.nspname, c.relname) FROM "+ownTables+" AND c.relkind = 'r' ORDER BY c.oid")
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

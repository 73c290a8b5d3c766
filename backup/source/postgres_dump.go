package source

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/pack"
)

// postgresFacts are what the manifest says of a database.
type postgresFacts struct {
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
}

// dumpSnapshot is a transaction whose snapshot the dump shares, so that roles,
// facts and rows are of one moment.
type dumpSnapshot struct {
	conn    *pgx.Conn
	id      string
	facts   postgresFacts
	globals globals
}

// Dump streams pg_dump's output into w.
func (p *Postgres) Dump(ctx context.Context, w *pack.Writer, _ *Previous) (Entry, error) {
	e, err := p.dump(ctx, w)
	if err != nil {
		return Entry{}, fmt.Errorf("dump %s: %w", p.name, err)
	}
	return e, nil
}

func (p *Postgres) dump(ctx context.Context, w *pack.Writer) (Entry, error) {
	snap, err := p.openDump(ctx)
	if err != nil {
		return Entry{}, err
	}
	defer closeConn(ctx, snap.conn)
	pgDump, err := findTool(ctx, "pg_dump", snap.facts.Major)
	if err != nil {
		return Entry{}, err
	}
	snap.facts.Tool = pgDump.major
	root, err := p.writeDump(ctx, w, pgDump, snap.id)
	if err != nil {
		return Entry{}, err
	}
	raw, err := json.Marshal(snap.globals)
	if err != nil {
		return Entry{}, err
	}
	extra, err := w.Write(ctx, bytes.NewReader(raw), pack.Files)
	if err != nil {
		return Entry{}, err
	}
	facts, err := json.Marshal(snap.facts)
	if err != nil {
		return Entry{}, err
	}
	return Entry{
		Kind: p.Kind(), Name: p.name, Size: root.Size + extra.Size,
		Root: root, Extra: &extra, Facts: facts,
	}, nil
}

func (p *Postgres) writeDump(ctx context.Context, w *pack.Writer, t tool, snapshot string) (_ pack.Stream, err error) {
	out, err := program{
		argv: []string{t.path, "--format=custom", "--compress=0", "--no-password", "--snapshot=" + snapshot, "--dbname=" + p.url.public()},
		env:  p.url.environ(),
	}.start(ctx)
	if err != nil {
		return pack.Stream{}, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	archive, err := timelessArchive(out)
	if err != nil {
		return pack.Stream{}, err
	}
	return w.Write(ctx, archive, pack.Database)
}

// openDump begins the transaction and gathers in it what pg_dump leaves out.
// The administrator does it, who may read the roles' passwords.
func (p *Postgres) openDump(ctx context.Context) (*dumpSnapshot, error) {
	conn, err := p.admin.to(p.target()).connect(ctx)
	if err != nil {
		return nil, err
	}
	s := &dumpSnapshot{conn: conn}
	if err := s.begin(ctx, p.url.user()); err != nil {
		closeConn(ctx, conn)
		return nil, err
	}
	return s, nil
}

func (s *dumpSnapshot) begin(ctx context.Context, user string) (err error) {
	if s.facts.Major, err = serverMajor(s.conn); err != nil {
		return err
	}
	// pg_dump runs for as long as it takes, with this transaction idle.
	for _, sql := range []string{
		"SET idle_in_transaction_session_timeout = 0",
		"BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
	} {
		if _, err := s.conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("begin snapshot: %w", err)
		}
	}
	if err := s.conn.QueryRow(ctx, "SELECT pg_catalog.pg_export_snapshot()").Scan(&s.id); err != nil {
		return fmt.Errorf("export snapshot: %w", err)
	}
	if err := s.facts.read(ctx, s.conn); err != nil {
		return fmt.Errorf("read facts: %w", err)
	}
	if s.globals, err = readGlobals(ctx, s.conn, user); err != nil {
		return fmt.Errorf("read roles: %w", err)
	}
	return nil
}

// serverLSN is the server's position in its write-ahead log, as text.
const serverLSN = "CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END::text"

func (f *postgresFacts) read(ctx context.Context, conn *pgx.Conn) error {
	return conn.QueryRow(ctx, `
		SELECT current_setting('server_version'), `+serverLSN+`,
			datname, pg_database_size(oid), pg_encoding_to_char(encoding), datcollate, datctype,
			(SELECT coalesce(jsonb_object_agg(extname, extversion), '{}') FROM pg_catalog.pg_extension)
		FROM pg_catalog.pg_database WHERE datname = current_database()`).
		Scan(&f.Server, &f.LSN, &f.Database, &f.Size, &f.Encoding, &f.Collate, &f.CType, &f.Extensions)
}

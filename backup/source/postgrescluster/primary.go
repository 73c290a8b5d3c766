package postgrescluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
	"github.com/understudy-ha/understudy/backup/source/postgrescluster/internal/wal"
)

// primary is the server that runs on the data folder, as its clients see it.
type primary struct {
	url     pgclient.URL
	dataDir string
	called  string // by which name the server knows whoever makes backups
	now     func() time.Time
	unread  time.Duration // how long log that came may wait for whoever reads it, while the server stops
	answers time.Duration // how long the server may say nothing
}

// with does something with a connection to the server.
func (p *primary) with(ctx context.Context, do func(conn *pgx.Conn) error) error {
	err := p.url.With(ctx, do)
	if err == nil || ctx.Err() != nil {
		return err
	}
	if full := p.full(); full != nil {
		return fmt.Errorf("%w, and start the server if it is down: %w", full, err)
	}
	return err
}

// usualSegment is the room that a server needs to go on with its log: a segment, as large as it
// mostly is.
const usualSegment = 16 << 20

// full says that the server's disk is full. The server itself says so in its own log alone: it
// ends, and cannot be asked.
func (p *primary) full() error {
	logs := filepath.Join(p.dataDir, "pg_wal")
	room, err := freeAt(logs)
	if err != nil || room >= usualSegment {
		return nil //nolint:nilerr // who needs the folder says what is wrong with it
	}
	return fmt.Errorf("%w that %s lies on (%s free): make room", source.ErrFull, logs, humanize.IBytes(uint64(max(0, room))))
}

// minMajor is the oldest version that is supported: its base backup is one stream.
const minMajor = 15

// answer is what the server says of itself.
type answer struct {
	Facts
	WalBlock   int
	Recovering bool
	Now        wal.LSN // up to here the log is on its disk
	WalLevel   string
	Senders    int
	Slots      int
	DataDir    string
	ConfigFile string
	Checksums  bool
}

// sqlAnswer is answered by whoever may read all settings. What stands behind it needs no
// right.
const sqlAnswer = `SELECT (SELECT system_identifier FROM pg_catalog.pg_control_system())::text,
	current_setting('server_version'), current_setting('server_version_num')::int,
	current_setting('block_size')::int, current_setting('wal_block_size')::int,
	(SELECT setting::bigint * CASE unit WHEN '8kB' THEN 8192 ELSE 1 END FROM pg_catalog.pg_settings WHERE name = 'wal_segment_size'),
	(SELECT rolname::text FROM pg_catalog.pg_roles WHERE oid = 10),
	pg_catalog.pg_is_in_recovery(),
	(CASE WHEN pg_catalog.pg_is_in_recovery() THEN coalesce(pg_catalog.pg_last_wal_replay_lsn(), '0/0') ELSE pg_catalog.pg_current_wal_flush_lsn() END)::text,
	current_setting('wal_level'), current_setting('max_wal_senders')::int, current_setting('max_replication_slots')::int,
	coalesce(current_setting('data_directory', true), ''), coalesce(current_setting('config_file', true), ''),
	coalesce(current_setting('shared_preload_libraries', true), ''),
	(SELECT count(*) FROM pg_catalog.pg_database WHERE NOT datistemplate AND datname <> 'postgres')::int,
	coalesce((SELECT sum(pg_catalog.pg_database_size(oid)) FROM pg_catalog.pg_database WHERE pg_catalog.has_database_privilege(oid, 'CONNECT') OR pg_catalog.pg_has_role('pg_read_all_stats', 'MEMBER')), 0)::bigint,
	current_setting('data_checksums') = 'on'`

// errSettings says how the agent's role learns what it must know of the server.
var errSettings = errors.New("the role of url may not read the server's settings")

// ask has the server say what it is.
func (p *primary) ask(ctx context.Context, conn *pgx.Conn) (a answer, err error) {
	number, system, now := 0, "", ""
	var segment int64
	err = conn.QueryRow(ctx, sqlAnswer).Scan(&system, &a.Version, &number, &a.Block, &a.WalBlock, &segment, &a.Super,
		&a.Recovering, &now, &a.WalLevel, &a.Senders, &a.Slots, &a.DataDir, &a.ConfigFile, &a.Preload, &a.Databases, &a.Bytes, &a.Checksums)
	if pgclient.IsCode(err, "42501") {
		return a, fmt.Errorf("%w: run there as a superuser: GRANT pg_monitor TO %s", errSettings, pgclient.Ident(p.url.User()))
	}
	if err != nil {
		return a, fmt.Errorf("ask the server what it is: %w", pgclient.Explained(err))
	}
	if _, err := fmt.Sscan(system, &a.System); err != nil {
		return a, fmt.Errorf("read the server's system identifier %q: %w", system, err)
	}
	a.Version, _, _ = strings.Cut(a.Version, " ")
	a.Major, a.Machine, a.Segment, a.Path = number/10000, runtime.GOARCH, uint64(segment), p.dataDir
	a.Now, err = wal.Parse(now)
	return a, err
}

// settings says which settings have to be others.
func (a *answer) settings() (found []error) {
	if a.WalLevel == "minimal" {
		found = append(found, errors.New("wal_level is minimal, so the server's log does not suffice for a copy: ALTER SYSTEM SET wal_level = 'replica', and restart the server"))
	}
	const senders = 2 // the log, and a base
	if a.Senders < senders {
		found = append(found, fmt.Errorf("max_wal_senders is %d, and %d are needed: ALTER SYSTEM SET max_wal_senders = 10, and restart the server", a.Senders, senders))
	}
	if a.Slots == 0 {
		found = append(found, errors.New("max_replication_slots is 0: ALTER SYSTEM SET max_replication_slots = 10, and restart the server"))
	}
	return found
}

// isAt fails where the server of url is another one than that of the data folder.
func (p *primary) isAt(a *answer) error {
	if a.DataDir != "" && !sameDir(a.DataDir, p.dataDir) {
		return fmt.Errorf("the server of url keeps its data in %s, not in data_dir %s", a.DataDir, p.dataDir)
	}
	return nil
}

// timeline is the timeline that the server writes, and where that comes from.
func (p *primary) timeline(ctx context.Context) (timeline uint32, history string, err error) {
	conn, err := p.replicate(ctx)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // nobody waits for it
	is, err := pglogrepl.IdentifySystem(ctx, conn)
	if err != nil {
		return 0, "", fmt.Errorf("ask the server for its timeline: %w", err)
	}
	if is.Timeline > 1 {
		of, err := pglogrepl.TimelineHistory(ctx, conn, is.Timeline)
		if err != nil {
			return 0, "", fmt.Errorf("ask the server where timeline %d comes from: %w", is.Timeline, err)
		}
		history = string(of.Content)
	}
	return uint32(is.Timeline), history, nil
}

// replicate returns a connection for replication.
func (p *primary) replicate(ctx context.Context) (*pgconn.PgConn, error) {
	return p.replicateAs(ctx, p.called)
}

// replicateAs is replicate under another name.
func (p *primary) replicateAs(ctx context.Context, called string) (*pgconn.PgConn, error) {
	conn, err := p.url.Replicate(ctx, called)
	if err != nil {
		return nil, p.replicationTrouble(err)
	}
	return conn, nil
}

// replicationTrouble says what to do about a server that refuses a replication connection.
func (p *primary) replicationTrouble(err error) error {
	user := pgclient.Ident(p.url.User())
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return err
	}
	switch {
	case pg.Code == "28000" && strings.Contains(pg.Message, "pg_hba"):
		return fmt.Errorf("%w: add a line to the server's pg_hba.conf, and reload it (SELECT pg_reload_conf()): %s", err, p.hbaLine())
	case pg.Code == "42501" || pg.Code == "28000":
		return fmt.Errorf("%w: run there as a superuser: ALTER ROLE %s REPLICATION", err, user)
	case pg.Code == "53300":
		return fmt.Errorf("%w: all of the server's senders are in use: ALTER SYSTEM SET max_wal_senders = 10, and restart it", err)
	}
	return err
}

// hbaLine is the line that lets the agent's role in.
func (p *primary) hbaLine() string {
	user := p.url.User()
	if p.url.OverSocket() {
		return fmt.Sprintf("local replication %s peer", user)
	}
	return fmt.Sprintf("host replication %s 127.0.0.1/32 scram-sha-256", user)
}

// sameDir tells whether two paths lead to one folder.
func sameDir(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// position is how far the server is, as text.
func (p *primary) position(ctx context.Context) (at string, err error) {
	err = p.with(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `SELECT (CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
			ELSE pg_catalog.pg_current_wal_flush_lsn() END)::text`).Scan(&at)
	})
	return at, err
}

package postgrescluster

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/postgrescluster/internal/wal"
)

// Kept implements source.LogKeeper.
func (s *Source) Kept(ctx context.Context, newest *source.Entry) (k source.Kept, err error) {
	of := keeper{slots: []string{s.streamer.slot.name, s.streamer.backup.name}, sync: s.sync, data: s.cfg.DataDir, baseEvery: s.cfg.BaseEvery}
	err = s.server.with(ctx, func(conn *pgx.Conn) error {
		k, err = of.ask(ctx, conn, newest)
		return err
	})
	return k, s.say("ask the server of %s for the log that it keeps", err)
}

// sqlKept is of both slots of the agent's. A slot whose log is gone has no position any
// more. A server without max_slot_wal_keep_size has no bound but its disk.
const sqlKept = `SELECT pg_catalog.pg_current_wal_flush_lsn()::text, current_setting('synchronous_standby_names'),
	coalesce(max(pg_catalog.pg_current_wal_flush_lsn() - restart_lsn), 0)::bigint, min(safe_wal_size),
	coalesce(bool_or(restart_lsn IS NULL OR wal_status IN ('unreserved', 'lost')), false)
	FROM pg_catalog.pg_replication_slots WHERE slot_type = 'physical' AND slot_name = ANY($1)`

// keeper is what has a server keep log.
type keeper struct {
	slots     []string
	sync      *synced
	data      string // its folder
	baseEvery time.Duration
}

func (of keeper) ask(ctx context.Context, conn *pgx.Conn, newest *source.Entry) (k source.Kept, err error) {
	var (
		now, names string
		safe       *int64
	)
	if err := conn.QueryRow(ctx, sqlKept, of.slots).Scan(&now, &names, &k.Bytes, &safe, &k.Lost); err != nil {
		return k, err
	}
	if k.Room, err = freeAt(filepath.Join(of.data, "pg_wal")); err != nil {
		return k, err
	}
	if safe != nil {
		k.Room = min(k.Room, *safe)
	}
	k.Bytes, k.Room = max(0, k.Bytes), max(0, k.Room)
	k.Synced, k.Waits, k.Unpacked = of.sync.wanted, names == of.sync.names(), -1
	if newest == nil {
		return k, nil
	}
	f, err := factsOf(*newest)
	if err != nil {
		return k, err
	}
	at, err := wal.Parse(now)
	k.BaseDue, k.Unpacked = f.BaseTime.Add(of.baseEvery), max(0, int64(at)-int64(f.To)) //nolint:gosec // positions in a log
	return k, err
}

// freeAt is the room on the disk of a folder.
func freeAt(folder string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(folder, &st); err != nil {
		return 0, fmt.Errorf("look how much room %s has: %w", folder, err)
	}
	return int64(st.Bavail) * st.Bsize, nil //nolint:gosec // of a disk
}

package postgrescluster

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
	"github.com/understudy-ha/understudy/backup/source/postgrescluster/internal/wal"
)

// slot is a replication slot of the agent's: the server keeps the log from its position
// on. It is the one thing that the agent leaves in a server.
type slot struct{ name string }

// slotName is the name of a source's slot: of letters, digits and underscores.
func slotName(source, suffix string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '_':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		}
		return '_'
	}, source)
	const most = 63
	whole := "understudy_" + name
	return whole[:min(len(whole), most-len(suffix))] + suffix
}

// slotState is what the server says of a slot.
type slotState struct {
	there  bool
	lost   bool // the server has deleted log that the slot was to keep
	at     wal.LSN
	active int32 // the process that receives from it, or has its lock; 0: none
}

func (s slot) look(ctx context.Context, conn *pgx.Conn) (st slotState, err error) {
	var at, status string
	err = conn.QueryRow(ctx, `SELECT coalesce(restart_lsn::text, ''), coalesce(wal_status, ''), coalesce(active_pid, (SELECT pid FROM pg_catalog.pg_locks
		WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND (classid::bigint << 32) | objid::bigint = pg_catalog.hashtextextended($1, 0) LIMIT 1), 0)
		FROM pg_catalog.pg_replication_slots WHERE slot_name = $1 AND slot_type = 'physical'`, s.name).Scan(&at, &status, &st.active)
	if errors.Is(err, pgx.ErrNoRows) {
		return st, nil
	}
	if err != nil {
		return st, fmt.Errorf("look at replication slot %s: %w", s.name, err)
	}
	st.there = true
	if st.lost = at == "" || status == "lost"; st.lost {
		return st, nil
	}
	st.at, err = wal.Parse(at)
	return st, err
}

// ensure makes the slot where it is missing, and anew where it is lost.
func (s slot) ensure(ctx context.Context, conn *pgx.Conn) error {
	st, err := s.look(ctx, conn)
	if err != nil || st.there && !st.lost {
		return err
	}
	if st.lost {
		if _, err := conn.Exec(ctx, "SELECT pg_catalog.pg_drop_replication_slot($1)", s.name); err != nil {
			return fmt.Errorf("drop replication slot %s, which is lost: %w", s.name, err)
		}
	}
	if _, err := conn.Exec(ctx, "SELECT pg_catalog.pg_create_physical_replication_slot($1, true)", s.name); err != nil {
		return slotTrouble(fmt.Errorf("make replication slot %s: %w", s.name, err))
	}
	return nil
}

// slotTrouble says what to do about a server that has no slot left.
func slotTrouble(err error) error {
	if pgclient.IsCode(err, "53400") {
		return fmt.Errorf("%w: ALTER SYSTEM SET max_replication_slots = 10, and restart the server", err)
	}
	return err
}

// advance has the server keep the log from a position on alone. It never goes back.
func (s slot) advance(ctx context.Context, conn *pgx.Conn, to wal.LSN) error {
	const advance = `SELECT pg_catalog.pg_replication_slot_advance(slot_name, greatest(restart_lsn, $2::text::pg_catalog.pg_lsn))
		FROM pg_catalog.pg_replication_slots WHERE slot_name = $1`
	tag, err := conn.Exec(ctx, advance, s.name, to.String())
	if err == nil && tag.RowsAffected() == 0 {
		err = errNoSlot
	}
	if err != nil {
		return fmt.Errorf("move replication slot %s to %s: %w", s.name, to, err)
	}
	return nil
}

var errNoSlot = errors.New("it is not there any more")

// lock has this process alone work with the slot, for as long as the connection lasts.
func (s slot) lock(ctx context.Context, conn *pgx.Conn) error {
	var got bool
	if err := conn.QueryRow(ctx, "SELECT pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended($1, 0))", s.name).Scan(&got); err != nil {
		return fmt.Errorf("lock replication slot %s: %w", s.name, err)
	}
	if !got {
		return s.taken()
	}
	return nil
}

// taken says that another process works with the slot.
func (s slot) taken() error {
	return fmt.Errorf("another process receives from replication slot %s: let one agent alone work on a server", s.name)
}

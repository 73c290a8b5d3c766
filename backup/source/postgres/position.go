package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/postgres/internal/client"
)

// Position implements Positioner: the server's position in its write-ahead log.
func (p *Source) Position(ctx context.Context) (string, error) {
	var at string
	err := p.withAdmin(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, "SELECT "+serverLSN).Scan(&at)
	})
	if err != nil {
		return "", fmt.Errorf("ask %s for its position: %w", p.name, err)
	}
	return at, nil
}

// since is Since.
func since(e source.Entry, position string) string {
	var facts Facts
	if err := json.Unmarshal(e.Facts, &facts); err != nil {
		return ""
	}
	then, err := parseLSN(facts.LSN)
	if err != nil {
		return ""
	}
	now, err := parseLSN(position)
	if err != nil || now <= then {
		return ""
	}
	return humanize.IBytes(now-then) + " of write-ahead log"
}

// parseLSN reads a position in the write-ahead log, "16/B374D848", in bytes.
func parseLSN(text string) (uint64, error) {
	var high, low uint32
	if _, err := fmt.Sscanf(text, "%X/%X", &high, &low); err != nil {
		return 0, fmt.Errorf("read log position %q: %w", text, err)
	}
	return uint64(high)<<32 | uint64(low), nil
}

// Reach implements Restorer.
func (p *Source) Reach(ctx context.Context) (reach source.Reach, err error) {
	err = p.withAdmin(ctx, func(conn *pgx.Conn) error {
		reach, err = p.reach(ctx, conn)
		return err
	})
	if err != nil {
		return reach, fmt.Errorf("look how far the swap of %s has come: %w", p.name, err)
	}
	return reach, nil
}

func (p *Source) reach(ctx context.Context, conn *pgx.Conn) (source.Reach, error) {
	st, err := p.state(ctx, conn)
	switch {
	case err != nil:
		return source.ReachNone, err
	case (st.replaced || st.absent) && st.target && !st.staged:
		return source.ReachPlaced, nil
	case st.replaced || st.absent:
		return source.ReachBegun, nil
	case st.staged: // the target may be closed to connections already
		return source.ReachStaged, nil
	}
	return source.ReachNone, nil
}

// Keep implements Restorer. The database stays closed to connections: it may have
// subscriptions, which would run.
func (p *Source) Keep(ctx context.Context) (kept string, err error) {
	err = p.withAdmin(ctx, func(conn *pgx.Conn) error {
		there, err := client.DatabaseExists(ctx, conn, p.replaced())
		if err != nil || !there {
			return err
		}
		to := ""
		for n := 1; there; n++ {
			to = besideName(p.url.Database(), "_understudy_kept_"+strconv.Itoa(n))
			if there, err = client.DatabaseExists(ctx, conn, to); err != nil {
				return err
			}
		}
		kept = keptPrefix + to
		return p.renameAll(ctx, conn, []rename{{p.replaced(), to}}, nil)
	})
	if err != nil {
		return "", fmt.Errorf("keep what was replaced of %s: %w", p.name, err)
	}
	return kept, nil
}

// keptPrefix is before the name of a database in what Keep returns.
const keptPrefix = "database "

// Keeps implements source.Keeper.
func (p *Source) Keeps(kept string) bool {
	name, ok := strings.CutPrefix(kept, keptPrefix)
	suffix := "_understudy_kept_"
	at := strings.LastIndex(name, suffix)
	return ok && at >= 0 && name == besideName(p.url.Database(), name[at:])
}

// IsKept implements source.Keeper.
func (p *Source) IsKept(ctx context.Context, kept string) (there bool, err error) {
	err = p.withAdmin(ctx, func(conn *pgx.Conn) (err error) {
		there, err = client.DatabaseExists(ctx, conn, strings.TrimPrefix(kept, keptPrefix))
		return err
	})
	return there, err
}

// Lost implements source.Measured.
func (f *Facts) Lost(was *Facts) string {
	switch {
	case was.Tables > 0 && f.Tables == 0:
		return fmt.Sprintf("had %d tables, has none", was.Tables)
	case was.Rows >= manyRows && f.Rows == 0:
		return fmt.Sprintf("had about %s rows, has none", humanize.Comma(was.Rows))
	}
	return ""
}

// manyRows is how many rows a database had when it counts that all are gone.
const manyRows = 100

package source

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Connected is a source whose state others connect to, so that no look at files
// shows who uses it.
type Connected interface {
	// Sessions says who is connected to the live state, but for Understudy, for
	// people: a few of them.
	Sessions(ctx context.Context) ([]string, error)
}

var _ Connected = (*Postgres)(nil)

// describedSession says who is connected, and from where.
const describedSession = `pg_catalog.format('session %s of role %s (%s) in database %s from %s', pid, usename,
	coalesce(nullif(application_name, ''), 'no name'), datname, coalesce(pg_catalog.host(client_addr), 'a socket'))`

// Ended goes with a Swap or a SwapBack: it collects the sessions that these ended,
// for people.
type Ended struct {
	Sessions []string
	More     int // that are not named
}

// maxEnded is how many are named.
const maxEnded = 20

// String names them; "" for none.
func (e *Ended) String() string {
	text := strings.Join(e.Sessions, "; ")
	if e.More > 0 {
		text += fmt.Sprintf("; and %d more", e.More)
	}
	return text
}

func (e *Ended) add(sessions []string) {
	for _, session := range sessions {
		switch {
		case session == "" || slices.Contains(e.Sessions, session): // it takes its time to end
		case len(e.Sessions) < maxEnded:
			e.Sessions = append(e.Sessions, session)
		default:
			e.More++
		}
	}
}

type endedKey struct{}

// WithEnded returns a context whose Swap and SwapBack report to e.
func WithEnded(ctx context.Context, e *Ended) context.Context {
	return context.WithValue(ctx, endedKey{}, e)
}

// Sessions implements Connected.
func (p *Postgres) Sessions(ctx context.Context) (all []string, err error) {
	err = p.withAdmin(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, `
			SELECT `+describedSession+`
			FROM pg_catalog.pg_stat_activity
			WHERE datname = $1 AND backend_type = 'client backend' AND application_name <> 'understudy'
			ORDER BY backend_start LIMIT 3`, p.target())
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look who is connected to %s: %w", p.name, err)
	}
	return all, nil
}

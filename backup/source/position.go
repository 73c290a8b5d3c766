package source

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/dustin/go-humanize"
	"github.com/jackc/pgx/v5"
)

// Positioner is a source that can tell at little cost how far it has come.
type Positioner interface {
	// Position tells where the source is now, in the terms of its kind: a
	// database's position in the write-ahead log, a fingerprint of a file.
	Position(ctx context.Context) (string, error)
}

// Position implements Positioner: the server's position in its write-ahead log.
func (p *Postgres) Position(ctx context.Context) (string, error) {
	var at string
	err := p.withAdmin(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, "SELECT "+serverLSN).Scan(&at)
	})
	if err != nil {
		return "", fmt.Errorf("ask %s for its position: %w", p.name, err)
	}
	return at, nil
}

// Position implements Positioner: a digest that every commit changes.
func (s *SQLite) Position(context.Context) (string, error) {
	p, err := s.real()
	if err != nil {
		return "", fmt.Errorf("look at %s: %w", s.name, err)
	}
	defer p.Close()
	at, err := fingerprint(p)
	if err != nil {
		return "", fmt.Errorf("look at %s: %w", s.name, err)
	}
	return at, nil
}

// Since says what a dumped source lacks of the state that it has reached since
// on the host that dumped it, in words; "" when it lacks nothing, or what it
// lacks cannot be told from a position.
func Since(e Entry, position string) string {
	if position == "" {
		return ""
	}
	switch e.Kind {
	case "postgres":
		var facts postgresFacts
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
	case "sqlite":
		var facts sqliteFacts
		if err := json.Unmarshal(e.Facts, &facts); err != nil || facts.Fingerprint == position {
			return ""
		}
		return "later commits"
	}
	return ""
}

// parseLSN reads a position in the write-ahead log, "16/B374D848", in bytes.
func parseLSN(text string) (uint64, error) {
	var high, low uint32
	if _, err := fmt.Sscanf(text, "%X/%X", &high, &low); err != nil {
		return 0, fmt.Errorf("read log position %q: %w", text, err)
	}
	return uint64(high)<<32 | uint64(low), nil
}

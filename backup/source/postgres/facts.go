package postgres

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/dustin/go-humanize"
	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/postgres/internal/compare"
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

// serverLSN is the server's position in its write-ahead log, as text.
const serverLSN = "CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END::text"

// position is how far the server has come in its write-ahead log.
func position(ctx context.Context, conn *pgx.Conn) (at string, err error) {
	err = conn.QueryRow(ctx, "SELECT "+serverLSN).Scan(&at)
	return at, err
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

// compareDumps is Compare of the kind.
func compareDumps(ctx context.Context, c *source.Comparison) (source.Difference, error) {
	major := 0 // a pg_restore of this version reads both dumps
	for _, e := range []source.Entry{c.A.Entry, c.B.Entry} {
		var facts Facts
		if err := json.Unmarshal(e.Facts, &facts); err != nil {
			return source.Difference{}, fmt.Errorf("read facts: %w", err)
		}
		major = max(major, facts.Tool)
	}
	return compare.Dumps(ctx, c, major)
}

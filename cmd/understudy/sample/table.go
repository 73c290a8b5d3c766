package sample

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	_ "github.com/jackc/pgx/v5/stdlib" // driver "pgx"
	_ "modernc.org/sqlite"             // driver "sqlite"
)

// row is one commit.
type row struct {
	serial  int64
	payload []byte
	sum     string // SHA-256 of the payload, hex
}

func newRow(serial int64, payload []byte) row {
	return row{serial: serial, payload: payload, sum: digest(payload)}
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// dialect is what differs between the two databases.
type dialect struct {
	driver, dsn    string
	schema, insert string
}

const selectAll = `SELECT serial, payload, sha256 FROM entries ORDER BY serial`

func sqliteDialect(path string) dialect {
	dsn := url.URL{
		Scheme:   "file",
		OmitHost: true,
		Path:     path,
		RawQuery: "_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)",
	}
	return dialect{
		driver: "sqlite",
		dsn:    dsn.String(),
		schema: `CREATE TABLE IF NOT EXISTS entries (serial INTEGER PRIMARY KEY, payload BLOB NOT NULL, sha256 TEXT NOT NULL)`,
		insert: `INSERT INTO entries (serial, payload, sha256) VALUES (?, ?, ?)`,
	}
}

func postgresDialect(dsn string) dialect {
	return dialect{
		driver: "pgx",
		dsn:    dsn,
		schema: `CREATE TABLE IF NOT EXISTS entries (serial BIGINT PRIMARY KEY, payload BYTEA NOT NULL, sha256 TEXT NOT NULL)`,
		insert: `INSERT INTO entries (serial, payload, sha256) VALUES ($1, $2, $3)`,
	}
}

// table is the application's one table.
type table struct {
	db     *sql.DB
	insert string
}

// openTable opens the database. create makes the database file and the table
// where they are missing; without it they must be there.
func openTable(ctx context.Context, c config, create bool) (*table, error) {
	d := postgresDialect(c.postgres)
	if c.postgres == "" {
		path := filepath.Join(c.data, "sample.db")
		if create {
			if err := os.MkdirAll(c.data, 0o755); err != nil {
				return nil, fmt.Errorf("make data folder: %w", err)
			}
		} else if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("open database: %w", err)
		}
		d = sqliteDialect(path)
	}
	db, err := sql.Open(d.driver, d.dsn)
	if err != nil {
		return nil, fmt.Errorf("open %s database: %w", d.driver, err)
	}
	if create {
		if _, err := db.ExecContext(ctx, d.schema); err != nil {
			_ = db.Close()
			return nil, fmt.Errorf("create table: %w", err)
		}
	}
	return &table{db: db, insert: d.insert}, nil
}

func (t *table) close() error { return t.db.Close() }

// add commits one row durably.
func (t *table) add(ctx context.Context, r row) error {
	if _, err := t.db.ExecContext(ctx, t.insert, r.serial, r.payload, r.sum); err != nil {
		return fmt.Errorf("insert entry %d: %w", r.serial, err)
	}
	return nil
}

// count gives the number of rows and the highest serial.
func (t *table) count(ctx context.Context) (rows, last int64, err error) {
	err = t.db.QueryRowContext(ctx, `SELECT count(*), coalesce(max(serial), 0) FROM entries`).Scan(&rows, &last)
	if err != nil {
		return 0, 0, fmt.Errorf("count entries: %w", err)
	}
	return rows, last, nil
}

// each calls f with every row, by serial.
func (t *table) each(ctx context.Context, f func(row) error) (err error) {
	rows, err := t.db.QueryContext(ctx, selectAll)
	if err != nil {
		return fmt.Errorf("read entries: %w", err)
	}
	defer func() {
		if e := rows.Close(); err == nil && e != nil {
			err = fmt.Errorf("read entries: %w", e)
		}
	}()
	for rows.Next() {
		var r row
		if err := rows.Scan(&r.serial, &r.payload, &r.sum); err != nil {
			return fmt.Errorf("read entry: %w", err)
		}
		if err := f(r); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read entries: %w", err)
	}
	return nil
}

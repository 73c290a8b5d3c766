package pgclient

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// executor is a connection or a transaction, and so is a session.
type executor interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// Session is a connection or a transaction.
type Session interface {
	executor
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Execute runs statements in order. Its errors do not quote them, for some hold
// passwords.
func Execute(ctx context.Context, conn executor, statements ...string) error {
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

// Collect returns the rows of a query, each as a struct of its columns in order.
func Collect[T any](ctx context.Context, conn Session, sql string, args ...any) ([]T, error) {
	rows, err := conn.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[T])
}

// CollectNames returns the rows of a query of one text each.
func CollectNames(ctx context.Context, conn Session, sql string, args ...any) ([]string, error) {
	rows, err := conn.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// IsCode tells whether err is the server's, with the given SQLSTATE.
func IsCode(err error, code string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == code
}

// Explained adds to a server's error what else the server said: what is in the
// way, and what to do.
func Explained(err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return err
	}
	for _, more := range []string{pg.Detail, pg.Hint} {
		if more != "" {
			err = fmt.Errorf("%w: %s", err, strings.TrimSuffix(more, "."))
		}
	}
	return err
}

// IsSuper tells whether a session is a superuser's.
func IsSuper(conn *pgx.Conn) bool { return conn.PgConn().ParameterStatus("is_superuser") == "on" }

// ServerMajor returns the server's major version, if it is one that is supported.
func ServerMajor(conn *pgx.Conn) (int, error) {
	major, err := majorOf(conn.PgConn().ParameterStatus("server_version"))
	if err != nil {
		return 0, err
	}
	if major < MinServer {
		return 0, fmt.Errorf("the server runs PostgreSQL %d: %d is the oldest that is supported", major, MinServer)
	}
	return major, nil
}

// MinServer is the oldest major version that is supported.
const MinServer = 13

// DatabaseExists tells whether the server has a database of that name.
func DatabaseExists(ctx context.Context, conn *pgx.Conn, name string) (bool, error) {
	var there bool
	err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = $1)", name).Scan(&there)
	if err != nil {
		return false, fmt.Errorf("look for database %q: %w", name, err)
	}
	return there, nil
}

// DatabaseOID returns the oid of a database.
func DatabaseOID(ctx context.Context, conn *pgx.Conn, name string) (oid uint32, err error) {
	err = conn.QueryRow(ctx, "SELECT oid FROM pg_catalog.pg_database WHERE datname = $1", name).Scan(&oid)
	if err != nil {
		return 0, fmt.Errorf("look for database %q: %w", name, err)
	}
	return oid, nil
}

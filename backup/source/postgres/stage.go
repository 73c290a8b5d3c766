package postgres

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
)

// A staged database takes no connections, a superuser's neither, but while a
// probe looks at it. Whoever opens it changes its row in pg_database, and so the
// xmin of that row, which the server keeps as long as nobody changes the row. So
// a database that takes no connections, and whose xmin is the noted one, is as it
// was left, but for what the server's own processes do, or somebody with the
// server's files in hand.

// stage is the staged database.
type stage struct {
	db    *database
	notes *notes
	// openedWith is what had been written to the stage when it was opened.
	openedWith string
}

// shut closes a database to connections in a transaction, after which leave is
// to be called with what it returns.
func (s *stage) shut(ctx context.Context, tx pgx.Tx, name string) (left string, err error) {
	if err := pgclient.Execute(ctx, tx, closeTo(name)); err != nil {
		return "", fmt.Errorf("close database %q: %w", name, err)
	}
	left, _, err = rowOf(ctx, tx, name)
	return left, err
}

// rowOf describes a database's row.
func rowOf(ctx context.Context, conn pgclient.Session, name string) (row string, oid uint32, err error) {
	err = conn.QueryRow(ctx, "SELECT datallowconn::text || ' ' || xmin::text, oid FROM pg_catalog.pg_database WHERE datname = $1", name).Scan(&row, &oid)
	if err != nil {
		return "", 0, fmt.Errorf("look at database %q: %w", name, err)
	}
	return row, oid, nil
}

// leave notes how the staged database was left.
func (s *stage) leave(ctx context.Context, conn *pgx.Conn, left string) error {
	oid, err := pgclient.DatabaseOID(ctx, conn, s.db.staged())
	if err != nil {
		return err
	}
	return writeDurably(s.notes.left(oid), []byte(left))
}

// asLeft tells whether the staged database is as it was left. Nobody can say so
// of one that an earlier version of this program left.
func (s *stage) asLeft(ctx context.Context, conn *pgx.Conn) (bool, error) {
	row, oid, err := rowOf(ctx, conn, s.db.staged())
	if err != nil {
		return false, err
	}
	left, err := os.ReadFile(s.notes.left(oid))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return string(left) == row && strings.HasPrefix(row, "false "), err
}

// endOthers ends all sessions in a database but one, and waits until they have
// ended: what they counted is there then.
func endOthers(ctx context.Context, conn *pgx.Conn, database string, but uint32) error {
	for range slotTries {
		tag, err := conn.Exec(ctx, `
			SELECT pg_catalog.pg_terminate_backend(pid), pg_catalog.pg_sleep(0.02) FROM pg_catalog.pg_stat_activity
			WHERE datname = $1 AND pid <> $2 AND backend_type = 'client backend'`, database, int32(but))
		if err != nil {
			return fmt.Errorf("end sessions in %q: %w", database, err)
		}
		if tag.RowsAffected() == 0 {
			return nil
		}
	}
	return fmt.Errorf("sessions in %q do not end", database)
}

// countWrites is what the server has counted of rows that were written, but for
// its own statistics, and where sequences stand.
func countWrites(ctx context.Context, conn *pgx.Conn) (counted string, err error) {
	err = conn.QueryRow(ctx, `
		SELECT (SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0) FROM pg_catalog.pg_stat_all_tables s JOIN pg_catalog.pg_class c ON c.oid = s.relid
				WHERE NOT c.relisshared AND s.schemaname <> 'pg_toast' AND NOT (s.schemaname = 'pg_catalog' AND s.relname IN ('pg_statistic', 'pg_statistic_ext_data')))::text
			|| ' ' || (SELECT md5(coalesce(string_agg(seqrelid::text || ':' || coalesce(pg_sequence_last_value(seqrelid)::text, ''), ',' ORDER BY seqrelid), ''))
				FROM pg_catalog.pg_sequence WHERE has_sequence_privilege(seqrelid, 'USAGE, SELECT'))`).Scan(&counted)
	if err != nil {
		return "", fmt.Errorf("count what was written: %w", err)
	}
	return counted, nil
}

// fingerprint is empty without a stage, and for one without its roles.
func (s *stage) fingerprint(ctx context.Context, conn *pgx.Conn) (string, error) {
	var print string
	var oid uint32
	err := conn.QueryRow(ctx, `
		SELECT format('%s %s %s', (SELECT system_identifier FROM pg_catalog.pg_control_system()), oid, datname), oid
		FROM pg_catalog.pg_database WHERE datname = $1`, s.db.staged()).Scan(&print, &oid)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	roles, err := os.ReadFile(s.notes.roles(oid))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s %x", print, sha256.Sum256(roles)), nil
}

func (s *stage) inspect(ctx context.Context, conn *pgx.Conn) (source.Inspection, error) {
	left, err := s.asLeft(ctx, conn)
	if err != nil || left {
		return source.Inspection{}, err
	}
	return source.Inspection{Damaged: 1, First: fmt.Sprintf("database %q, which somebody has opened or written to,", s.db.staged())}, nil
}

// open lets the probe in.
func (s *stage) open(ctx context.Context, conn *pgx.Conn) error {
	left, err := s.asLeft(ctx, conn)
	if err == nil && !left {
		err = fmt.Errorf("database %q is not as it was left: somebody has opened it", s.db.staged())
	}
	if err != nil {
		return err
	}
	if err := pgclient.Execute(ctx, conn, openTo(s.db.staged())); err != nil {
		return err
	}
	return s.db.within(ctx, s.db.staged(), func(inside *pgx.Conn) error {
		s.openedWith, err = countWrites(ctx, inside)
		return err
	})
}

// close shuts it again, and fails where somebody has written meanwhile.
func (s *stage) close(ctx context.Context, conn *pgx.Conn) error {
	inside, err := s.db.admin.To(s.db.staged()).Connect(ctx) // as long as one can
	if err != nil {
		return err
	}
	defer pgclient.CloseConn(ctx, inside)
	var left string
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) (err error) {
		left, err = s.shut(ctx, tx, s.db.staged())
		return err
	})
	if err == nil {
		err = endOthers(ctx, conn, s.db.staged(), inside.PgConn().PID())
	}
	if err != nil {
		return err
	}
	counted, err := countWrites(ctx, inside)
	if err == nil && counted != s.openedWith {
		err = fmt.Errorf("%w, while the probe looked at database %q: a probe must only read, and make no temporary tables", source.ErrWritten, s.db.staged())
	}
	if err != nil {
		return err
	}
	return s.leave(ctx, conn, left)
}

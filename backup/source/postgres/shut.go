package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/postgres/internal/client"
)

// A staged database takes no connections, a superuser's neither, but while a
// probe looks at it. Whoever opens it changes its row in pg_database, and so the
// xmin of that row, which the server keeps as long as nobody changes the row. So
// a database that takes no connections, and whose xmin is the noted one, is as it
// was left, but for what the server's own processes do, or somebody with the
// server's files in hand.

// leftFile keeps what a staged database was left as, by its oid.
func (p *Source) leftFile(stage uint32) string {
	return filepath.Join(p.cfg.Scratch, fmt.Sprintf("left-%d", stage))
}

// shut closes a database to connections in a transaction, after which leave is
// to be called with what it returns.
func (p *Source) shut(ctx context.Context, tx pgx.Tx, name string) (left string, err error) {
	if err := client.Execute(ctx, tx, closeTo(name)); err != nil {
		return "", fmt.Errorf("close database %q: %w", name, err)
	}
	left, _, err = rowOf(ctx, tx, name)
	return left, err
}

// rowOf describes a database's row.
func rowOf(ctx context.Context, conn client.Session, name string) (row string, oid uint32, err error) {
	err = conn.QueryRow(ctx, "SELECT datallowconn::text || ' ' || xmin::text, oid FROM pg_catalog.pg_database WHERE datname = $1", name).Scan(&row, &oid)
	if err != nil {
		return "", 0, fmt.Errorf("look at database %q: %w", name, err)
	}
	return row, oid, nil
}

// leave notes how the staged database was left.
func (p *Source) leave(ctx context.Context, conn *pgx.Conn, left string) error {
	oid, err := client.DatabaseOID(ctx, conn, p.Staged())
	if err != nil {
		return err
	}
	return writeDurably(p.leftFile(oid), []byte(left))
}

// asLeft tells whether the staged database is as it was left. Nobody can say so
// of one that an earlier version of this program left.
func (p *Source) asLeft(ctx context.Context, conn *pgx.Conn) (bool, error) {
	row, oid, err := rowOf(ctx, conn, p.Staged())
	if err != nil {
		return false, err
	}
	left, err := os.ReadFile(p.leftFile(oid))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return string(left) == row && strings.HasPrefix(row, "false "), err
}

// Inspect implements Inspector: a database that somebody has opened is damaged as
// a whole.
func (p *Source) Inspect(ctx context.Context) (found source.Inspection, err error) {
	err = p.withAdmin(ctx, func(conn *pgx.Conn) error {
		left, err := p.asLeft(ctx, conn)
		if err == nil && !left {
			found = source.Inspection{Damaged: 1, First: fmt.Sprintf("database %q, which somebody has opened or written to,", p.Staged())}
		}
		return err
	})
	if err != nil {
		return source.Inspection{}, fmt.Errorf("look at the stage of %s: %w", p.name, err)
	}
	return found, nil
}

// OpenStage implements Shut.
func (p *Source) OpenStage(ctx context.Context) error {
	err := p.withAdmin(ctx, func(conn *pgx.Conn) error {
		left, err := p.asLeft(ctx, conn)
		if err == nil && !left {
			err = fmt.Errorf("database %q is not as it was left: somebody has opened it", p.Staged())
		}
		if err != nil {
			return err
		}
		if err := client.Execute(ctx, conn, openTo(p.Staged())); err != nil {
			return err
		}
		return p.admin.To(p.Staged()).With(ctx, func(inside *pgx.Conn) error {
			p.openedWith, err = countWrites(ctx, inside)
			return err
		})
	})
	if err != nil {
		return fmt.Errorf("open the stage of %s: %w", p.name, err)
	}
	return nil
}

// CloseStage implements Shut. Who wrote shows in what the server counts.
func (p *Source) CloseStage(ctx context.Context) error {
	err := p.withAdmin(ctx, func(conn *pgx.Conn) error {
		inside, err := p.admin.To(p.Staged()).Connect(ctx) // as long as one can
		if err != nil {
			return err
		}
		defer client.CloseConn(ctx, inside)
		var left string
		err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) (err error) {
			left, err = p.shut(ctx, tx, p.Staged())
			return err
		})
		if err == nil {
			err = endOthers(ctx, conn, p.Staged(), inside.PgConn().PID())
		}
		if err != nil {
			return err
		}
		counted, err := countWrites(ctx, inside)
		if err == nil && counted != p.openedWith {
			err = fmt.Errorf("%w, while the probe looked at database %q: a probe must only read, and make no temporary tables", source.ErrWritten, p.Staged())
		}
		if err != nil {
			return err
		}
		return p.leave(ctx, conn, left)
	})
	if err != nil {
		return fmt.Errorf("close the stage of %s: %w", p.name, err)
	}
	return nil
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

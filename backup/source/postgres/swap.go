package postgres

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/swap"
	"github.com/understudy-ha/understudy/backup/source/postgres/internal/client"
)

// The state of a swap can be read off the databases (S staged, T the target, R
// replaced, A absent: an empty one that says that there was no target):
//
//	S, T       staged, and S is closed to connections; T may be already
//	S          staged, for a server that has no target yet
//	S, A       the same, about to be put into place, or just taken back
//	T, R or A  swapped; R is closed to connections
//
// The swap is one transaction that renames both databases, so that the server
// itself sees to it that it happens wholly or not at all.
type postgresState struct{ staged, target, replaced, absent bool }

func (p *Source) state(ctx context.Context, conn *pgx.Conn) (st postgresState, err error) {
	for _, d := range []struct {
		name string
		to   *bool
	}{{p.Staged(), &st.staged}, {p.target(), &st.target}, {p.replaced(), &st.replaced}, {p.absent(), &st.absent}} {
		if *d.to, err = client.DatabaseExists(ctx, conn, d.name); err != nil {
			return st, err
		}
	}
	return st, nil
}

// Fingerprint implements Restorer: which server it is, which of its databases, and
// what the backup says of roles.
func (p *Source) Fingerprint(ctx context.Context) (print string, err error) {
	err = p.withAdmin(ctx, func(conn *pgx.Conn) error {
		var oid uint32
		err := conn.QueryRow(ctx, `
			SELECT format('%s %s %s', (SELECT system_identifier FROM pg_catalog.pg_control_system()), oid, datname), oid
			FROM pg_catalog.pg_database WHERE datname = $1`, p.Staged()).Scan(&print, &oid)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		roles, err := os.ReadFile(p.rolesFile(oid))
		if errors.Is(err, os.ErrNotExist) {
			print = ""
			return nil
		}
		print = fmt.Sprintf("%s %x", print, sha256.Sum256(roles))
		return err
	})
	if err != nil {
		return "", fmt.Errorf("look at the stage of %s: %w", p.name, err)
	}
	return print, nil
}

// Swap implements Restorer. Sessions in the target are ended.
func (p *Source) Swap(ctx context.Context) error {
	if err := p.withAdmin(ctx, func(conn *pgx.Conn) error { return p.swap(ctx, conn) }); err != nil {
		return fmt.Errorf("swap %s: %w", p.name, err)
	}
	return nil
}

func (p *Source) swap(ctx context.Context, conn *pgx.Conn) error {
	st, err := p.state(ctx, conn)
	if err != nil {
		return err
	}
	switch {
	case !st.staged && st.target && (st.replaced || st.absent):
		return nil
	case !st.staged:
		return swap.ErrNothingStaged
	case st.target && (st.replaced || st.absent):
		return fmt.Errorf("database %q was made again in the midst of a swap", p.target())
	}
	if left, err := p.asLeft(ctx, conn); err != nil {
		return err
	} else if !left {
		return fmt.Errorf("database %q is not as it was left: somebody has opened it, or written to it", p.Staged())
	}
	var renames []rename
	switch {
	case st.target:
		if err := p.step("close", client.Execute(ctx, conn, closeTo(p.target()))); err != nil {
			return err
		}
		renames = append(renames, rename{p.target(), p.replaced()})
	case !st.absent:
		if err := p.step("absent", client.Execute(ctx, conn, "CREATE DATABASE "+client.Ident(p.absent())+" TEMPLATE template0 ALLOW_CONNECTIONS false")); err != nil {
			return err
		}
	}
	align, err := p.alignStaged(ctx, conn)
	if err != nil {
		return err
	}
	return p.renameAll(ctx, conn, append(renames, rename{p.Staged(), p.target()}), align)
}

// SwapBack implements Restorer. Sessions in the target are ended.
func (p *Source) SwapBack(ctx context.Context) error {
	if err := p.withAdmin(ctx, func(conn *pgx.Conn) error { return p.swapBack(ctx, conn) }); err != nil {
		return fmt.Errorf("swap back %s: %w", p.name, err)
	}
	return nil
}

func (p *Source) swapBack(ctx context.Context, conn *pgx.Conn) error {
	st, err := p.state(ctx, conn)
	if err != nil {
		return err
	}
	if st.replaced || st.absent {
		if st.target && st.staged {
			return fmt.Errorf("database %q was made again in the midst of a swap", p.target())
		}
		if err := p.takeBack(ctx, conn, st); err != nil {
			return err
		}
	}
	return p.dropStaged(ctx, conn)
}

func (p *Source) takeBack(ctx context.Context, conn *pgx.Conn, st postgresState) error {
	var renames []rename
	if st.target {
		if err := p.step("close", client.Execute(ctx, conn, closeTo(p.target()))); err != nil {
			return err
		}
		renames = append(renames, rename{p.target(), p.Staged()})
	}
	if st.replaced {
		renames = append(renames, rename{p.replaced(), p.target()})
	}
	align := func(pgx.Tx) error { return nil }
	if st.target { // the staged database is in place, and its roles are
		var err error
		if align, err = p.alignBack(ctx, conn); err != nil {
			return err
		}
	}
	return p.renameAll(ctx, conn, renames, align)
}

// Discard implements Restorer.
func (p *Source) Discard(ctx context.Context) error {
	if err := p.withAdmin(ctx, func(conn *pgx.Conn) error { return p.discard(ctx, conn) }); err != nil {
		return fmt.Errorf("discard %s: %w", p.name, err)
	}
	return nil
}

func (p *Source) discard(ctx context.Context, conn *pgx.Conn) error {
	st, err := p.state(ctx, conn)
	if err != nil {
		return err
	}
	if st.replaced && (st.staged || !st.target) || st.absent && st.staged {
		return source.ErrUnfinished
	}
	if err := p.setAside(ctx, conn, p.replaced()); err != nil {
		return err
	}
	return p.dropStaged(ctx, conn)
}

// dropStaged sets the staged database aside. As long as that exists the target may
// be closed by an unfinished swap, so it is opened first.
func (p *Source) dropStaged(ctx context.Context, conn *pgx.Conn) error {
	st, err := p.state(ctx, conn)
	if err != nil {
		return err
	}
	if st.staged && st.target {
		if err := p.step("open", client.Execute(ctx, conn, openTo(p.target()))); err != nil {
			return err
		}
	}
	if err := p.setAside(ctx, conn, p.staging(), p.outdated(), p.Staged(), p.absent()); err != nil {
		return err
	}
	return errors.Join(fsx.RemoveFiles(p.archive()), p.dropNotes())
}

func closeTo(name string) string {
	return "ALTER DATABASE " + client.Ident(name) + " ALLOW_CONNECTIONS false"
}
func openTo(name string) string {
	return "ALTER DATABASE " + client.Ident(name) + " ALLOW_CONNECTIONS true"
}

// rename renames a database.
type rename struct{ from, to string }

// renameTries is how often a rename is tried: a session that was just
// beginning may come up after those before it were ended.
const renameTries = 2

// renameAll renames databases in one transaction, opens the target for
// connections in it, and calls also with it. Sessions in them are ended before.
func (p *Source) renameAll(ctx context.Context, conn *pgx.Conn, renames []rename, also func(pgx.Tx) error) error {
	var err error
	for range renameTries {
		if err = p.endSessions(ctx, conn, renames); err != nil {
			return err
		}
		err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			if err := p.renameIn(ctx, tx, renames); err != nil || also == nil {
				return err
			}
			return also(tx)
		})
		if !client.IsCode(err, "55006") { // object_in_use; the server has waited for five seconds
			break
		}
	}
	return p.step("renamed", err)
}

func (p *Source) renameIn(ctx context.Context, tx pgx.Tx, renames []rename) error {
	for _, r := range renames {
		err := client.Execute(ctx, tx, "ALTER DATABASE "+client.Ident(r.from)+" RENAME TO "+client.Ident(r.to))
		if err != nil {
			return fmt.Errorf("rename database %q to %q: %w", r.from, r.to, client.Explained(err))
		}
		if err := p.fault("rename " + r.from); err != nil {
			return err
		}
		if r.to == p.target() {
			if err := client.Execute(ctx, tx, openTo(r.to)); err != nil {
				return fmt.Errorf("open database %q: %w", r.to, err)
			}
		}
	}
	return nil
}

func (p *Source) endSessions(ctx context.Context, conn *pgx.Conn, renames []rename) error {
	names := make([]string, len(renames))
	for i, r := range renames {
		names[i] = r.from
	}
	ended, err := client.CollectNames(ctx, conn, `
		SELECT CASE WHEN ended AND datname = $2 AND backend_type = 'client backend' AND application_name <> 'understudy' THEN `+describedSession+` ELSE '' END
		FROM (SELECT *, pg_catalog.pg_terminate_backend(pid) AS ended FROM pg_catalog.pg_stat_activity
			WHERE datname = ANY ($1) AND pid <> pg_catalog.pg_backend_pid()) s`, names, p.target())
	if to := source.EndedOf(ctx); to != nil {
		to.Add(ended)
	}
	if err = p.step("sessions ended", err); err != nil {
		return fmt.Errorf("end sessions in %q: %w", p.target(), err)
	}
	return nil
}

// step passes a step's error on and, in tests, stops after the step.
func (p *Source) step(name string, err error) error {
	if err != nil {
		return err
	}
	return p.fault(name)
}

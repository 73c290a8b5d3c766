package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
	"github.com/understudy-ha/understudy/backup/source/internal/swap"
)

// swapper puts the stage into the target's place, and back.
type swapper struct {
	db    *database
	notes *notes
	stage interface { // as *stage is
		asLeft(ctx context.Context, conn *pgx.Conn) (bool, error)
	}
	roles interface { // as *roleBook is
		alignStaged(ctx context.Context, conn *pgx.Conn) (func(pgx.Tx) error, error)
		alignBack(ctx context.Context, conn *pgx.Conn) (func(pgx.Tx) error, error)
	}
}

func (s *swapper) swap(ctx context.Context, conn *pgx.Conn) error {
	st, err := s.db.state(ctx, conn)
	if err != nil {
		return err
	}
	if done, err := st.CheckSwap(s.db.quoted()); done || err != nil {
		return err
	}
	if left, err := s.stage.asLeft(ctx, conn); err != nil {
		return err
	} else if !left {
		return fmt.Errorf("database %q is not as it was left: somebody has opened it, or written to it", s.db.staged())
	}
	var renames []rename
	switch {
	case st.Target:
		if err := s.db.step("close", pgclient.Execute(ctx, conn, closeTo(s.db.name()))); err != nil {
			return err
		}
		renames = append(renames, rename{s.db.name(), s.db.replaced()})
	case !st.Absent:
		if err := s.db.step("absent", pgclient.Execute(ctx, conn, "CREATE DATABASE "+pgclient.Ident(s.db.absent())+" TEMPLATE template0 ALLOW_CONNECTIONS false")); err != nil {
			return err
		}
	}
	align, err := s.roles.alignStaged(ctx, conn)
	if err != nil {
		return err
	}
	return s.db.renameAll(ctx, conn, append(renames, rename{s.db.staged(), s.db.name()}), align)
}

func (s *swapper) swapBack(ctx context.Context, conn *pgx.Conn) error {
	st, err := s.db.state(ctx, conn)
	if err != nil {
		return err
	}
	begun, err := st.CheckSwapBack(s.db.quoted())
	if err == nil && begun {
		err = s.takeBack(ctx, conn, st)
	}
	if err != nil {
		return err
	}
	return s.dropStaged(ctx, conn)
}

func (s *swapper) takeBack(ctx context.Context, conn *pgx.Conn, st swap.State) error {
	var renames []rename
	if st.Target {
		if err := s.db.step("close", pgclient.Execute(ctx, conn, closeTo(s.db.name()))); err != nil {
			return err
		}
		renames = append(renames, rename{s.db.name(), s.db.staged()})
	}
	if st.Replaced {
		renames = append(renames, rename{s.db.replaced(), s.db.name()})
	}
	align := func(pgx.Tx) error { return nil }
	if st.Target { // the staged database is in place, and its roles are
		var err error
		if align, err = s.roles.alignBack(ctx, conn); err != nil {
			return err
		}
	}
	return s.db.renameAll(ctx, conn, renames, align)
}

func (s *swapper) discard(ctx context.Context, conn *pgx.Conn) error {
	st, err := s.db.state(ctx, conn)
	if err != nil {
		return err
	}
	if err := st.CheckDiscard(); err != nil {
		return err
	}
	if err := s.db.setAside(ctx, conn, s.db.replaced()); err != nil {
		return err
	}
	return s.dropStaged(ctx, conn)
}

// dropStaged sets the staged database aside. As long as that exists the target may
// be closed by an unfinished swap, so it is opened first.
func (s *swapper) dropStaged(ctx context.Context, conn *pgx.Conn) error {
	st, err := s.db.state(ctx, conn)
	if err != nil {
		return err
	}
	if st.Staged && st.Target {
		if err := s.db.step("open", pgclient.Execute(ctx, conn, openTo(s.db.name()))); err != nil {
			return err
		}
	}
	if err := s.db.setAside(ctx, conn, s.db.staging(), s.db.outdated(), s.db.staged(), s.db.absent()); err != nil {
		return err
	}
	return errors.Join(fsx.RemoveFiles(s.notes.archive()), s.notes.drop())
}

func (s *swapper) reach(ctx context.Context, conn *pgx.Conn) (source.Reach, error) {
	st, err := s.db.state(ctx, conn)
	if err != nil {
		return source.ReachNone, err
	}
	return st.Reach(), nil
}

// keep gives what was replaced a name for good.
func (s *swapper) keep(ctx context.Context, conn *pgx.Conn) (string, error) {
	there, err := pgclient.DatabaseExists(ctx, conn, s.db.replaced())
	if err != nil || !there {
		return "", err
	}
	to := ""
	for n := 1; there; n++ {
		to = s.db.kept(n)
		if there, err = pgclient.DatabaseExists(ctx, conn, to); err != nil {
			return "", err
		}
	}
	if err := s.db.renameAll(ctx, conn, []rename{{s.db.replaced(), to}}, nil); err != nil {
		return "", err
	}
	return keptPrefix + to, nil
}

// keptPrefix is before the name of a database in what keep returns.
const keptPrefix = "database "

func (s *swapper) keeps(kept string) bool {
	name, ok := strings.CutPrefix(kept, keptPrefix)
	suffix := "_understudy_kept_"
	at := strings.LastIndex(name, suffix)
	return ok && at >= 0 && name == besideName(s.db.name(), name[at:])
}

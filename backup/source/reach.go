package source

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/fsx"
)

// Reach is how far the swap of one source has come.
type Reach int

// Reaches.
const (
	ReachNone   Reach = iota // nothing is staged, nothing was replaced
	ReachStaged              // a stage is there, and the target is as it was
	ReachBegun               // some steps of the swap are done
	ReachPlaced              // the stage is in place, and what it replaced is kept
)

// freeName returns the first of the names prefix-1, prefix-2, … that nothing has.
func freeName(in *fsx.Dir, prefix string) (string, error) {
	for n := 1; ; n++ {
		name := prefix + "-" + strconv.Itoa(n)
		if taken, err := in.Exists(name); err != nil || !taken {
			return name, err
		}
	}
}

// keepReplaced renames what was replaced.
func (s *site) keepReplaced() (string, error) {
	there, err := s.exists(s.replaced)
	if err != nil || !there {
		return "", err
	}
	to, err := freeName(s.in, s.kept)
	if err != nil {
		return "", err
	}
	return s.path(to), s.move("keep for good", s.replaced, to)
}

// Reach implements Restorer.
func (d *Directory) Reach(context.Context) (reach Reach, err error) {
	err = d.do(func(p placement) error {
		begun, err := p.at().exists(p.at().note)
		if err != nil {
			return err
		}
		if begun {
			reach = ReachBegun
			swapped, err := p.swapped()
			if swapped {
				reach = ReachPlaced
			}
			return err
		}
		staged, err := p.at().exists(p.at().staged)
		if staged {
			reach = ReachStaged
		}
		return err
	})
	if err != nil {
		return reach, fmt.Errorf("look how far the swap of %s has come: %w", d.name, err)
	}
	return reach, nil
}

// Keep implements Restorer.
func (d *Directory) Keep(context.Context) (kept string, err error) {
	err = d.do(func(p placement) error {
		kept, err = p.at().keepReplaced()
		return err
	})
	if err != nil {
		return "", fmt.Errorf("keep what was replaced of %s: %w", d.name, err)
	}
	return kept, nil
}

// Reach implements Restorer.
func (p *Prometheus) Reach(ctx context.Context) (Reach, error) { return p.tree.Reach(ctx) }

// Keep implements Restorer.
func (p *Prometheus) Keep(ctx context.Context) (string, error) { return p.tree.Keep(ctx) }

// Reach implements Restorer.
func (s *SQLite) Reach(context.Context) (reach Reach, err error) {
	err = s.do("look how far the swap has come of", func(at *sqliteSite) error {
		reach, err = at.reach()
		return err
	})
	return reach, err
}

// Keep implements Restorer.
func (s *SQLite) Keep(context.Context) (kept string, err error) {
	err = s.do("keep what was replaced of", func(at *sqliteSite) error {
		kept, err = at.keep()
		return err
	})
	return kept, err
}

// Reach implements Restorer.
func (s *File) Reach(context.Context) (reach Reach, err error) {
	err = s.do("look how far the swap has come of", func(at *sqliteSite) error {
		reach, err = at.reach()
		return err
	})
	return reach, err
}

// Keep implements Restorer.
func (s *File) Keep(context.Context) (kept string, err error) {
	err = s.do("keep what was replaced of", func(at *sqliteSite) error {
		kept, err = at.keep()
		return err
	})
	return kept, err
}

func (s *sqliteSite) reach() (Reach, error) {
	st, err := s.state()
	switch {
	case err != nil:
		return ReachNone, err
	case (st.replaced || st.absent) && st.target && !st.staged:
		return ReachPlaced, nil
	case st.replaced || st.absent || st.moved:
		return ReachBegun, nil
	case st.staged:
		return ReachStaged, nil
	}
	return ReachNone, nil
}

// keep renames what was replaced: what SQLite kept beside it first, so that the
// name of the database itself tells that all is done.
func (s *sqliteSite) keep() (string, error) {
	there, err := s.exists(s.replaced())
	if err != nil || !there {
		return "", err
	}
	to, err := freeName(s.Dir, beside(s.Name, "kept"))
	if err != nil {
		return "", err
	}
	if err := s.moveSides(s.replaced(), to); err != nil {
		return "", err
	}
	return s.Dir.Path(to), s.step("keep for good", s.Dir.Move(s.replaced(), to))
}

// Reach implements Restorer.
func (c *Command) Reach(context.Context) (Reach, error) {
	var there [3]bool
	for i, path := range []string{c.Staged(), c.replaced(), c.loaded()} {
		var err error
		if there[i], err = exists(path); err != nil {
			return ReachNone, fmt.Errorf("look how far the swap of %s has come: %w", c.name, err)
		}
	}
	switch staged, replaced, loaded := there[0], there[1], there[2]; {
	case loaded && replaced && !staged:
		return ReachPlaced, nil
	case replaced:
		return ReachBegun, nil
	case staged:
		return ReachStaged, nil
	}
	return ReachNone, nil
}

// Keep implements Restorer.
func (c *Command) Keep(context.Context) (string, error) {
	there, err := exists(c.replaced())
	if err != nil || !there {
		return "", err
	}
	var kept string
	err = c.folder(func(in *fsx.Dir) error {
		to, err := freeName(in, "kept")
		if err != nil {
			return err
		}
		kept = in.Path(to)
		return in.Move(filepath.Base(c.replaced()), to)
	})
	if err != nil {
		return "", fmt.Errorf("keep what was replaced of %s: %w", c.name, err)
	}
	return kept, nil
}

// Reach implements Restorer.
func (p *Postgres) Reach(ctx context.Context) (reach Reach, err error) {
	err = p.withAdmin(ctx, func(conn *pgx.Conn) error {
		reach, err = p.reach(ctx, conn)
		return err
	})
	if err != nil {
		return reach, fmt.Errorf("look how far the swap of %s has come: %w", p.name, err)
	}
	return reach, nil
}

func (p *Postgres) reach(ctx context.Context, conn *pgx.Conn) (Reach, error) {
	st, err := p.state(ctx, conn)
	switch {
	case err != nil:
		return ReachNone, err
	case (st.replaced || st.absent) && st.target && !st.staged:
		return ReachPlaced, nil
	case st.replaced || st.absent:
		return ReachBegun, nil
	case st.staged: // the target may be closed to connections already
		return ReachStaged, nil
	}
	return ReachNone, nil
}

// Keep implements Restorer. The database stays closed to connections: it may have
// subscriptions, which would run.
func (p *Postgres) Keep(ctx context.Context) (kept string, err error) {
	err = p.withAdmin(ctx, func(conn *pgx.Conn) error {
		there, err := databaseExists(ctx, conn, p.replaced())
		if err != nil || !there {
			return err
		}
		to := ""
		for n := 1; there; n++ {
			to = besideName(p.url.database, "_understudy_kept_"+strconv.Itoa(n))
			if there, err = databaseExists(ctx, conn, to); err != nil {
				return err
			}
		}
		kept = "database " + to
		return p.renameAll(ctx, conn, []rename{{p.replaced(), to}}, nil)
	})
	if err != nil {
		return "", fmt.Errorf("keep what was replaced of %s: %w", p.name, err)
	}
	return kept, nil
}

// begun tells whether the server is, or may be, stopped for a swap: the note of
// that may have been lost together with the scratch folder.
func (p *Prometheus) begun(ctx context.Context) (bool, error) {
	noted, err := exists(p.swapping())
	if err != nil || noted {
		return noted, err
	}
	reach, err := p.tree.Reach(ctx)
	if err != nil || reach < ReachBegun {
		return false, err
	}
	return true, makeScratch(p.cfg.Scratch) // where its programs leave what they print
}

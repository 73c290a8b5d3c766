package postgres

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/chunks"
	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
	"github.com/understudy-ha/understudy/backup/source/postgres/internal/archive"
	"github.com/understudy-ha/understudy/backup/source/postgres/internal/globals"
)

// accept gives what the manifest says of a dump that can be restored, and the
// tool to do it with.
func accept(ctx context.Context, conn *pgx.Conn, e source.Entry) (facts Facts, pgRestore pgclient.Tool, err error) {
	if err := json.Unmarshal(e.Facts, &facts); err != nil {
		return facts, pgRestore, fmt.Errorf("read facts: %w", err)
	}
	major, err := pgclient.ServerMajor(conn)
	if err != nil {
		return facts, pgRestore, err
	}
	if major < facts.Major {
		return facts, pgRestore, fmt.Errorf("the server runs PostgreSQL %d and the dump was made of PostgreSQL %d: upgrade the server", major, facts.Major)
	}
	if err := acceptExtensions(ctx, conn, facts); err != nil {
		return facts, pgRestore, err
	}
	pgRestore, err = pgclient.FindTool(ctx, "pg_restore", facts.Tool)
	return facts, pgRestore, err
}

// stager restores a dump into a new database, which becomes the stage.
type stager struct {
	db        *database
	notes     *notes
	stage     *stage
	roles     *roleBook
	locales   *locales
	restorers *restorers
	jobs      int
	trust     []string
}

func (s *stager) restore(ctx context.Context, conn *pgx.Conn, r *pack.Reader, e source.Entry) error {
	facts, pgRestore, err := accept(ctx, conn, e)
	if err == nil {
		err = s.locales.accept(ctx, conn, facts)
	}
	if err != nil {
		return err
	}
	st, err := s.db.state(ctx, conn)
	if err != nil {
		return err
	}
	if st.Begun() {
		return source.ErrUnfinished
	}
	if err := s.checkServerSpace(ctx, conn, e, facts); err != nil {
		return err
	}
	return s.rebuild(ctx, conn, r, e, pgRestore)
}

func (s *stager) rebuild(ctx context.Context, conn *pgx.Conn, r *pack.Reader, e source.Entry, pgRestore pgclient.Tool) (err error) {
	g, err := readExtra(ctx, r, e)
	if err != nil {
		return err
	}
	if err := fsx.MakeScratch(s.notes.dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, fsx.RemoveFiles(s.notes.archive())) }()
	if err := chunks.ToFile(ctx, r, e.Root, s.notes.archive()); err != nil {
		return err
	}
	entries, err := archive.ReadTOC(s.notes.archive())
	if err != nil {
		return err
	}
	plan, err := archive.NewPlan(entries, s.trust, s.restorers.byAdmin(conn))
	if err != nil {
		return err
	}
	if err := s.db.remove(ctx, conn, s.db.staging(), s.db.outdated()); err != nil {
		return err
	}
	roles, err := s.roles.makeMissing(ctx, conn, g)
	if err != nil {
		return err
	}
	if err := s.restoreAs(ctx, conn, roles, plan, pgRestore); err != nil {
		return err
	}
	if err = s.roles.rehearse(ctx, conn, g); err == nil {
		err = s.settle(ctx, conn, g)
	}
	if err != nil {
		s.dropStaging(context.WithoutCancel(ctx))
	}
	return err
}

// restoreAs makes the staging database, fills it, and gives it to its owner.
func (s *stager) restoreAs(ctx context.Context, conn *pgx.Conn, roles *globals.Aligner, plan *archive.Plan, pgRestore pgclient.Tool) (err error) {
	var who *restorer
	local := roles.Local()
	err = s.restorers.alone(ctx, conn, func() error {
		if who, err = s.restorers.choose(ctx, conn); err != nil {
			return err
		}
		database := local.Database
		database.Owner = who.role
		if err := pgclient.Execute(ctx, conn, database.Create(s.db.staging())); err != nil {
			return fmt.Errorf("create database %q: %w", s.db.staging(), pgclient.Explained(err))
		}
		return nil
	})
	defer func() {
		ctx := context.WithoutCancel(ctx)
		if err != nil { // it takes room, and a new attempt begins afresh
			s.dropStaging(ctx)
		}
		if who != nil {
			// The other connection ends when its context is cancelled.
			err = errors.Join(err, s.db.with(ctx, func(conn *pgx.Conn) error { return s.restorers.drop(ctx, conn, who) }))
		}
	}()
	if err != nil {
		return err
	}
	if err := who.enter(ctx, s.db.staging()); err != nil {
		return err
	}
	s.restorers.restorable.Store(true)
	said, err := (&loading{db: s.db, notes: s.notes, jobs: s.jobs, trust: s.trust, tool: pgRestore, plan: plan, roles: roles, who: who}).load(ctx)
	if err != nil {
		return err
	}
	if err := source.Judge(ctx, "", source.Findings{Unchecked: said}); err != nil {
		return err
	}
	if err := s.takeOver(ctx, conn, local, who); err != nil {
		return err
	}
	return s.roles.dropUnused(ctx, roles.StandIns())
}

// takeOver gives a database that is filled to its owner, with its properties,
// and ends what the restorer may do in it.
func (s *stager) takeOver(ctx context.Context, conn *pgx.Conn, local *globals.State, who *restorer) error {
	name := pgclient.Ident(s.db.staging())
	if err := s.db.within(ctx, s.db.staging(), func(conn *pgx.Conn) error { return who.leave(ctx, conn) }); err != nil {
		return fmt.Errorf("take over from role %q: %w", who.role, pgclient.Explained(err))
	}
	statements := append([]string{"ALTER DATABASE " + name + " OWNER TO " + pgclient.Ident(local.Database.Owner), "ALTER DATABASE " + name + " RESET ALL"}, local.Properties(s.db.staging())...)
	if err := pgclient.Execute(ctx, conn, statements...); err != nil {
		return fmt.Errorf("set properties of database %q: %w", s.db.staging(), pgclient.Explained(err))
	}
	return nil
}

// settle puts a stage that is whole into the place of the earlier one.
func (s *stager) settle(ctx context.Context, conn *pgx.Conn, g *globals.State) error {
	if err := s.roles.keep(ctx, conn, s.db.staging(), g); err != nil {
		return err
	}
	renames := []rename{{s.db.staging(), s.db.staged()}}
	if there, err := pgclient.DatabaseExists(ctx, conn, s.db.staged()); err != nil {
		return err
	} else if there {
		renames = append([]rename{{s.db.staged(), s.db.outdated()}}, renames...)
	}
	var left string
	err := s.db.renameAll(ctx, conn, renames, func(tx pgx.Tx) (err error) {
		left, err = s.stage.shut(ctx, tx, s.db.staged())
		return err
	})
	if err == nil {
		err = s.stage.leave(ctx, conn, left)
	}
	if err != nil {
		return err
	}
	if err := s.db.remove(ctx, conn, s.db.outdated()); err != nil {
		return err
	}
	oid, err := pgclient.DatabaseOID(ctx, conn, s.db.staged())
	if err != nil {
		return err
	}
	return s.notes.drop(s.notes.roles(oid), s.notes.left(oid))
}

// dropStaging drops what was being built, over a connection of its own: the
// other one ends when its context is cancelled.
func (s *stager) dropStaging(ctx context.Context) {
	// If this fails too, the next stage, or SwapBack, does it.
	_ = s.db.with(ctx, func(conn *pgx.Conn) error { return s.db.remove(ctx, conn, s.db.staging()) })
}

// readExtra reads the second stream.
func readExtra(ctx context.Context, r *pack.Reader, e source.Entry) (*globals.State, error) {
	if e.Extra == nil {
		return nil, errors.New("read roles: the backup has none")
	}
	var raw bytes.Buffer
	if err := chunks.Copy(ctx, r, *e.Extra, &raw); err != nil {
		return nil, fmt.Errorf("read roles: %w", err)
	}
	g := new(globals.State)
	if err := json.Unmarshal(raw.Bytes(), g); err != nil {
		return nil, fmt.Errorf("read roles: %w", err)
	}
	return g, nil
}

// checkServerSpace looks for room in the server's data folder, where that is
// on this host.
func (s *stager) checkServerSpace(ctx context.Context, conn *pgx.Conn, e source.Entry, facts Facts) error {
	var folder *string
	err := conn.QueryRow(ctx, "SELECT current_setting('data_directory', true)").Scan(&folder)
	if pgclient.IsCode(err, "42501") || err == nil && folder == nil { // insufficient_privilege
		return nil
	}
	if err != nil {
		return fmt.Errorf("find the server's data folder: %w", err)
	}
	if !s.db.admin.Local() {
		return nil
	}
	need := facts.Size
	if sameDevice(*folder, s.notes.dir) {
		need += e.Root.Size
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(*folder, &fs); err != nil {
		return nil //nolint:nilerr // in a container of its own, or hidden from this user
	}
	if free := int64(fs.Bavail) * fs.Bsize; free < need {
		return fmt.Errorf("%s has %d bytes free and the restored database needs about %d", *folder, free, need)
	}
	return nil
}

func sameDevice(a, b string) bool {
	var x, y unix.Stat_t
	return unix.Stat(a, &x) == nil && unix.Stat(b, &y) == nil && x.Dev == y.Dev
}

// exportEntry writes dump.pgc and roles.sql in a new folder.
func exportEntry(ctx context.Context, r *pack.Reader, e source.Entry, at fsx.Place) error {
	var facts Facts
	if err := json.Unmarshal(e.Facts, &facts); err != nil {
		return fmt.Errorf("read facts: %w", err)
	}
	g, err := readExtra(ctx, r, e)
	if err != nil {
		return err
	}
	made, err := at.Dir.Make(at.Name)
	if err != nil {
		return err
	}
	defer made.Close()
	if err := fsx.NewFile(made, "dump.pgc", func(f *os.File) error { return chunks.Copy(ctx, r, e.Root, f) }); err != nil {
		return err
	}
	return fsx.NewFile(made, "roles.sql", func(f *os.File) error {
		_, err := io.WriteString(f, g.Script(facts.Database))
		return err
	})
}

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
	"github.com/understudy-ha/understudy/backup/source/postgres/internal/archive"
	"github.com/understudy-ha/understudy/backup/source/postgres/internal/client"
	"github.com/understudy-ha/understudy/backup/source/postgres/internal/globals"
)

// Space implements Restorer: the dump, as pg_restore needs it to be a file.
// The server's own folder may be out of sight; Stage looks at it.
func (p *Source) Space(e source.Entry) (string, int64) { return p.cfg.Scratch, e.Root.Size }

// Accept implements Restorer: a server restores what is of its own version or
// an older one.
func (p *Source) Accept(ctx context.Context, e source.Entry) error {
	err := p.withAdmin(ctx, func(conn *pgx.Conn) error {
		facts, _, err := accept(ctx, conn, e)
		if err == nil {
			err = p.acceptLocales(ctx, conn, facts)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("restore %s: %w", p.name, err)
	}
	return nil
}

// accept gives what the manifest says of a dump that can be restored, and the
// tool to do it with.
func accept(ctx context.Context, conn *pgx.Conn, e source.Entry) (facts Facts, pgRestore client.Tool, err error) {
	if err := json.Unmarshal(e.Facts, &facts); err != nil {
		return facts, pgRestore, fmt.Errorf("read facts: %w", err)
	}
	major, err := client.ServerMajor(conn)
	if err != nil {
		return facts, pgRestore, err
	}
	if major < facts.Major {
		return facts, pgRestore, fmt.Errorf("the server runs PostgreSQL %d and the dump was made of PostgreSQL %d: upgrade the server", major, facts.Major)
	}
	if err := acceptExtensions(ctx, conn, facts); err != nil {
		return facts, pgRestore, err
	}
	pgRestore, err = client.FindTool(ctx, "pg_restore", facts.Tool)
	return facts, pgRestore, err
}

// Stage restores the dump into a new database, on the target's server. The
// earlier stage stays until the new one is whole.
func (p *Source) Stage(ctx context.Context, r *pack.Reader, e source.Entry) error {
	err := p.withAdmin(ctx, func(conn *pgx.Conn) error { return p.stage(ctx, conn, r, e) })
	if err != nil {
		return fmt.Errorf("stage %s: %w", p.name, err)
	}
	return nil
}

func (p *Source) stage(ctx context.Context, conn *pgx.Conn, r *pack.Reader, e source.Entry) error {
	facts, pgRestore, err := accept(ctx, conn, e)
	if err == nil {
		err = p.acceptLocales(ctx, conn, facts)
	}
	if err != nil {
		return err
	}
	st, err := p.state(ctx, conn)
	if err != nil {
		return err
	}
	if st.replaced || st.absent {
		return source.ErrUnfinished
	}
	if err := p.checkServerSpace(ctx, conn, e, facts); err != nil {
		return err
	}
	return p.rebuild(ctx, conn, r, e, pgRestore)
}

func (p *Source) rebuild(ctx context.Context, conn *pgx.Conn, r *pack.Reader, e source.Entry, pgRestore client.Tool) (err error) {
	g, err := readExtra(ctx, r, e)
	if err != nil {
		return err
	}
	if err := fsx.MakeScratch(p.cfg.Scratch); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, fsx.RemoveFiles(p.archive())) }()
	if err := chunks.ToFile(ctx, r, e.Root, p.archive()); err != nil {
		return err
	}
	entries, err := archive.ReadTOC(p.archive())
	if err != nil {
		return err
	}
	plan, err := archive.NewPlan(entries, p.cfg.Trust, p.byAdmin(conn))
	if err != nil {
		return err
	}
	if err := p.remove(ctx, conn, p.staging(), p.outdated()); err != nil {
		return err
	}
	roles, err := p.makeRoles(ctx, conn, g)
	if err != nil {
		return err
	}
	if err := p.restoreAs(ctx, conn, roles, plan, pgRestore); err != nil {
		return err
	}
	if err = p.rehearseRoles(ctx, conn, g); err == nil {
		err = p.settleStage(ctx, conn, g)
	}
	if err != nil {
		p.dropStaging(context.WithoutCancel(ctx))
	}
	return err
}

// restoreAs makes the staging database, fills it, and gives it to its owner.
func (p *Source) restoreAs(ctx context.Context, conn *pgx.Conn, roles *globals.Aligner, plan *archive.Plan, pgRestore client.Tool) (err error) {
	var who *restorer
	local := roles.Local()
	err = p.alone(ctx, conn, func() error {
		if who, err = p.newRestorer(ctx, conn); err != nil {
			return err
		}
		database := local.Database
		database.Owner = who.role
		if err := client.Execute(ctx, conn, database.Create(p.staging())); err != nil {
			return fmt.Errorf("create database %q: %w", p.staging(), client.Explained(err))
		}
		return nil
	})
	defer func() {
		ctx := context.WithoutCancel(ctx)
		if err != nil { // it takes room, and a new attempt begins afresh
			p.dropStaging(ctx)
		}
		if who != nil {
			// The other connection ends when its context is cancelled.
			err = errors.Join(err, p.withAdmin(ctx, func(conn *pgx.Conn) error { return p.dropRestorer(ctx, conn, who) }))
		}
	}()
	if err != nil {
		return err
	}
	if err := who.enter(ctx, p.staging()); err != nil {
		return err
	}
	p.restorable.Store(true)
	said, err := p.load(ctx, &loading{tool: pgRestore, plan: plan, roles: roles, who: who})
	if err != nil {
		return err
	}
	if err := source.Judge(ctx, "", source.Findings{Unchecked: said}); err != nil {
		return err
	}
	if err := p.takeOver(ctx, conn, local, who); err != nil {
		return err
	}
	return p.dropUnused(ctx, roles.StandIns())
}

// takeOver gives a database that is filled to its owner, with its properties,
// and ends what the restorer may do in it.
func (p *Source) takeOver(ctx context.Context, conn *pgx.Conn, local *globals.State, who *restorer) error {
	name := client.Ident(p.staging())
	if err := p.admin.To(p.staging()).With(ctx, func(conn *pgx.Conn) error { return who.leave(ctx, conn) }); err != nil {
		return fmt.Errorf("take over from role %q: %w", who.role, client.Explained(err))
	}
	statements := append([]string{"ALTER DATABASE " + name + " OWNER TO " + client.Ident(local.Database.Owner), "ALTER DATABASE " + name + " RESET ALL"}, local.Properties(p.staging())...)
	if err := client.Execute(ctx, conn, statements...); err != nil {
		return fmt.Errorf("set properties of database %q: %w", p.staging(), client.Explained(err))
	}
	return nil
}

// settleStage puts a stage that is whole into the place of the earlier one.
func (p *Source) settleStage(ctx context.Context, conn *pgx.Conn, g *globals.State) error {
	if err := p.keepRoles(ctx, conn, p.staging(), g); err != nil {
		return err
	}
	renames := []rename{{p.staging(), p.Staged()}}
	if there, err := client.DatabaseExists(ctx, conn, p.Staged()); err != nil {
		return err
	} else if there {
		renames = append([]rename{{p.Staged(), p.outdated()}}, renames...)
	}
	var left string
	err := p.renameAll(ctx, conn, renames, func(tx pgx.Tx) (err error) {
		left, err = p.shut(ctx, tx, p.Staged())
		return err
	})
	if err == nil {
		err = p.leave(ctx, conn, left)
	}
	if err != nil {
		return err
	}
	if err := p.remove(ctx, conn, p.outdated()); err != nil {
		return err
	}
	oid, err := client.DatabaseOID(ctx, conn, p.Staged())
	if err != nil {
		return err
	}
	return p.dropNotes(p.rolesFile(oid), p.leftFile(oid))
}

// dropStaging drops what was being built, over a connection of its own: the
// other one ends when its context is cancelled.
func (p *Source) dropStaging(ctx context.Context) {
	// If this fails too, the next stage, or SwapBack, does it.
	_ = p.withAdmin(ctx, func(conn *pgx.Conn) error { return p.remove(ctx, conn, p.staging()) })
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
func (p *Source) checkServerSpace(ctx context.Context, conn *pgx.Conn, e source.Entry, facts Facts) error {
	var folder *string
	err := conn.QueryRow(ctx, "SELECT current_setting('data_directory', true)").Scan(&folder)
	if client.IsCode(err, "42501") || err == nil && folder == nil { // insufficient_privilege
		return nil
	}
	if err != nil {
		return fmt.Errorf("find the server's data folder: %w", err)
	}
	if !p.admin.Local() {
		return nil
	}
	need := facts.Size
	if sameDevice(*folder, p.cfg.Scratch) {
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

package postgrescluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/stage"
	"github.com/understudy-ha/understudy/backup/source/postgrescluster/internal/wal"
	"github.com/understudy-ha/understudy/backup/stream"
)

// Rejoin implements source.Rejoiner: after a switchover the server of the former active has
// written nothing that its successor has not, and a copy of its data folder follows.
func (s *Source) Rejoin(ctx context.Context, e source.Entry, end stream.Position) error {
	s.busy.Lock()
	defer s.busy.Unlock()
	err := s.stager.rejoin(ctx, e, wal.LSN(end))
	if err == nil {
		err = source.Judge(ctx, partOfCopy, source.Findings{Unchecked: []string{"it is a copy of the one that served here, and was compared with no backup"}})
	}
	return s.say("have %s rejoin", err)
}

// partOfCopy is what is said of a stage that is a copy.
const partOfCopy = "data folder"

func (st *stager) rejoin(ctx context.Context, e source.Entry, end wal.LSN) error {
	f, err := st.accept(ctx, e)
	if err != nil {
		return err
	}
	err = st.place.at(func(x stage.Placement) error {
		at := x.At().Place
		if len(at.Missing) > 0 {
			return fmt.Errorf("%w: %s is missing", source.ErrNoRejoin, at.Path())
		}
		data, err := at.Dir.OpenDir(at.Name)
		if err != nil {
			return fmt.Errorf("%w: %w", source.ErrNoRejoin, err)
		}
		defer data.Close()
		c, err := atRest(ctx, data, f, end)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", source.ErrNoRejoin, err)
		}
		if err := endStaged(ctx, x); err != nil {
			return err
		}
		if err := x.Prepare(f.Parents); err != nil {
			return err
		}
		return x.At().Build(ctx, func(made *fsx.Dir) error { return st.copy(ctx, c, e.Name, x.At(), made) })
	})
	folder, need := st.space(e)
	return source.SayFull(err, need, folder)
}

// rested is the data folder of a server that was stopped in order, and that nobody starts.
type rested struct {
	data  *fsx.Dir
	is    control
	log   logOf
	facts Facts // of its backup, up to the end of its log
}

// atRest looks at a data folder: its log has to hold that of a backup, and to end at or
// before a position.
func atRest(ctx context.Context, data *fsx.Dir, f Facts, end wal.LSN) (r rested, err error) {
	r = rested{data: data, facts: f}
	if r.is, err = readControl(data); err != nil {
		return r, err
	}
	if err := r.still(); err != nil {
		return r, err
	}
	if r.is.State != stateShutDown {
		return r, errors.New("its server was not stopped in order")
	}
	err = inLog(data, func(logs *fsx.Dir) error {
		files, last, err := left(ctx, data, logs, f)
		switch {
		case err != nil:
			return err
		case last < f.To:
			return fmt.Errorf("its log ends at %s, and that of the backup at %s", last, f.To)
		case last > end:
			return fmt.Errorf("its log goes on up to %s, and its successor's does from %s on", last, end)
		}
		if _, err := files.goesOn(f, last); err != nil {
			return err
		}
		r.log, r.facts.To = logOf{files.timeline, f.History, files.size}, last
		return nil
	})
	return r, err
}

// still fails where a server runs in the folder, or has since it was looked at.
func (r *rested) still() error {
	pid, err := runningIn(r.data)
	if err != nil {
		return err
	}
	is, err := readControl(r.data)
	if err != nil {
		return err
	}
	if pid != 0 || is != r.is {
		return fmt.Errorf("a server runs in %s", r.data.Path())
	}
	return nil
}

// copy fills a stage.
func (st *stager) copy(ctx context.Context, r rested, name string, s *stage.Stage, made *fsx.Dir) error {
	who, mode, err := ownerOf(s.Place, r.facts)
	if err != nil {
		return err
	}
	c := &copier{rested: r, who: who}
	if err := c.folder(ctx, r.data, made, ""); err != nil {
		return err
	}
	if err := unarmed(made, slotName(name, ""), who); err != nil {
		return err
	}
	if err := finishDir(made, mode, who); err != nil {
		return err
	}
	if err := unix.Syncfs(made.FD()); err != nil {
		return fmt.Errorf("sync the file system of %s: %w", made.Path(), err)
	}
	if err := r.still(); err != nil {
		return fmt.Errorf("%w: %w", source.ErrNoRejoin, err)
	}
	if err := st.demote(ctx, s.Place, made, r.facts, who); err != nil {
		return err
	}
	if err := st.terms.learn(r.facts.Term); err != nil {
		return err
	}
	return writeNote(s, s.Listing, note{Facts: r.facts})
}

// demote has a data folder be a standby's: a server begins to look for more log, and ends.
func (st *stager) demote(ctx context.Context, at fsx.Place, data *fsx.Dir, f Facts, who owner) error {
	if err := signal(data, who, standbySignal, recoverySignal); err != nil {
		return err
	}
	i, err := st.launch(ctx, at, data, f, who, nil)
	if err != nil {
		return err
	}
	if err := i.recovers(ctx); err != nil {
		return i.failure("begin as a standby", err)
	}
	i.stop()
	is, err := readControl(data)
	if err != nil {
		return err
	}
	if !is.recovering() || is.System != f.System {
		return i.failure("begin as a standby", fmt.Errorf("the server %d has ended in state %d", is.System, is.State))
	}
	return removeRun(ctx, at)
}

// recovers waits until the server notes that it replays log.
func (i *instance) recovers(ctx context.Context) error {
	for {
		if is, err := readControl(i.data); err != nil || is.recovering() {
			return err
		}
		select {
		case <-i.done:
			return errors.Join(i.err, errors.New("the server has ended"))
		default:
		}
		if err := rest(ctx); err != nil {
			i.stop()
			return err
		}
	}
}

// copier copies a data folder as PostgreSQL's base backup does (basebackup.c of PostgreSQL
// has the names), and of its log what a server needs that begins there.
type copier struct {
	rested
	who owner
}

// Folders of which only the folder is copied, and files that are none of a copy.
var (
	emptied = []string{"pg_dynshmem", "pg_notify", "pg_replslot", "pg_serial", "pg_snapshots", "pg_stat_tmp", "pg_subtrans"}
	leftOut = []string{
		"backup_label", "tablespace_map", "backup_manifest", "postmaster.pid", "postmaster.opts", "current_logfiles", "current_logfiles.tmp",
		autoFile + ".tmp", standbySignal, recoverySignal,
	}
)

// folder copies what is in a folder with a path below the data folder.
func (c *copier) folder(ctx context.Context, from, to *fsx.Dir, path string) error {
	switch {
	case slices.Contains(emptied, path):
		return nil
	case path == "pg_wal":
		return c.logs(ctx, from, to)
	}
	names, err := from.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if path == "" && slices.Contains(leftOut, name) || strings.HasPrefix(name, "pgsql_tmp") || strings.HasPrefix(name, "pg_internal.init") {
			continue
		}
		st, err := from.Stat(name)
		if err != nil {
			return err
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			err = c.below(ctx, from, to, name, strings.TrimPrefix(path+"/"+name, "/"), st.Mode)
		case unix.S_IFREG:
			err = c.file(ctx, from, to, name)
		default:
			if path == "pg_tblspc" {
				err = fmt.Errorf("%w: %s leads to a tablespace outside of it", source.ErrNoRejoin, from.Path(name))
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *copier) below(ctx context.Context, from, to *fsx.Dir, name, path string, mode uint32) error {
	in, err := from.OpenDir(name)
	if err != nil {
		return err
	}
	defer in.Close()
	made, err := to.Make(name)
	if err != nil {
		return err
	}
	defer made.Close()
	if err := c.folder(ctx, in, made, path); err != nil {
		return err
	}
	return finishDir(made, mode&0o7777, c.who)
}

// logs copies the log from where a server begins to replay on. A server keeps old segments
// under the names of those to come: they are not copied.
func (c *copier) logs(ctx context.Context, from, to *fsx.Dir) error {
	names, err := from.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasSuffix(name, ".history") {
			if err := c.file(ctx, from, to, name); err != nil {
				return err
			}
		}
	}
	for at := wal.Start(c.is.Redo, c.log.segment); at <= c.facts.To; at += wal.LSN(c.log.segment) {
		err := c.file(ctx, from, to, wal.Segment(c.log.timeline, at, c.log.segment))
		if err != nil && (at < c.facts.To || !errors.Is(err, fs.ErrNotExist)) { // the log may end where a segment does
			return err
		}
	}
	const private = 0o700
	status, err := to.Make("archive_status")
	if err != nil {
		return err
	}
	defer status.Close()
	return finishDir(status, private, c.who)
}

// copyEach is how much of a file is copied before it is looked whether to go on.
const copyEach = 64 << 20

// file copies a file, which shares its blocks with the copy where the file system can.
func (c *copier) file(ctx context.Context, from, to *fsx.Dir, name string) (err error) {
	in, err := from.Open(name, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer in.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(in.Fd()), &st); err != nil {
		return err
	}
	if int(st.Uid) != c.who.uid {
		return fmt.Errorf("%w: %s does not belong to the owner of the data folder", source.ErrNoRejoin, in.Name())
	}
	out, err := to.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := io.CopyN(out, in, copyEach); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("copy %s: %w", in.Name(), err)
		}
	}
	if err := c.who.give(int(out.Fd())); err != nil {
		return fmt.Errorf("give %s to its owner: %w", out.Name(), err)
	}
	return out.Chmod(os.FileMode(st.Mode & 0o777))
}

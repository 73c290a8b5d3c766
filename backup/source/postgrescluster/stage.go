package postgrescluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/chunks"
	"github.com/understudy-ha/understudy/backup/source/internal/meta"
	"github.com/understudy-ha/understudy/backup/source/internal/stage"
	"github.com/understudy-ha/understudy/backup/source/internal/tree"
	"github.com/understudy-ha/understudy/backup/source/postgrescluster/internal/wal"
)

// stager builds stages: the base, with its log, brought forward to the log's end by a
// server of the agent's own. That server has replayed every record when it ends: the
// stage is a standby's data folder, which can go on by more log, and becomes a primary's
// by a promotion.
type stager struct {
	place    *place
	programs *programs
	terms    *terms
	free     func(folder string) (int64, error) // room on its disk
	proving  sync.Mutex                         // held while a base is restored beside the stage
}

// accept tells whether an entry can be restored here.
func (st *stager) accept(ctx context.Context, e source.Entry) (Facts, error) {
	f, err := factsOf(e)
	if err != nil {
		return f, err
	}
	if f.Machine != runtime.GOARCH {
		return f, fmt.Errorf("the backup is of a server on %s, whose data folder a server on %s cannot read", f.Machine, runtime.GOARCH)
	}
	if _, err := st.programs.find(ctx, f.Major); err != nil {
		return f, fmt.Errorf("the backup is of PostgreSQL %d, whose data folder no other version can read: %w", f.Major, err)
	}
	return f, nil
}

// stage builds a stage in the place of any earlier one.
func (st *stager) stage(ctx context.Context, r *pack.Reader, e source.Entry) error {
	return st.stageWith(ctx, e, r, func(f *Facts, made *fsx.Dir, who owner) (wal.Record, error) {
		return plantLog(ctx, r, *e.Extra, *f, made, who)
	})
}

// logPlanter writes the log into a new data folder, and returns the last record that is
// whole. It may change the facts: to where the log ends.
type logPlanter func(f *Facts, made *fsx.Dir, who owner) (wal.Record, error)

func (st *stager) stageWith(ctx context.Context, e source.Entry, r chunks.Reader, plantLog logPlanter) error {
	f, err := st.accept(ctx, e)
	if err != nil {
		return err
	}
	err = st.place.at(func(x stage.Placement) error {
		if err := endStaged(ctx, x); err != nil {
			return err
		}
		if err := x.Prepare(f.Parents); err != nil {
			return err
		}
		return x.At().Build(ctx, func(made *fsx.Dir) error { return st.build(ctx, r, e, f, x.At(), made, plantLog) })
	})
	folder, need := st.space(e)
	return source.SayFull(err, need, folder)
}

// space is Space: the base, the log, and the segments that the server makes.
func (st *stager) space(e source.Entry) (string, int64) {
	const segments = 4
	f, err := factsOf(e)
	if err != nil {
		return filepath.Dir(fsx.RealPathOr(st.place.path)), e.Size // Stage reports it
	}
	return filepath.Dir(fsx.RealPathOr(st.place.path)), f.BaseBytes + f.logSize() + segments*int64(f.Segment)
}

func (st *stager) build(ctx context.Context, r chunks.Reader, e source.Entry, f Facts, s *stage.Stage, made *fsx.Dir, plantLog logPlanter) error {
	who, mode, err := ownerOf(s.Place, f)
	if err != nil {
		return err
	}
	if err := st.restore(ctx, r, e, &f, s.Place, made, who, mode, plantLog); err != nil {
		return err
	}
	if err := st.terms.learn(f.Term); err != nil {
		return err
	}
	return writeNote(s, s.Listing, note{Facts: f, Proven: f.Start})
}

// restore fills a folder with a base, and has a server replay the log there. at is whose name
// the folder of that server's socket has.
func (st *stager) restore(ctx context.Context, r chunks.Reader, e source.Entry, f *Facts, at fsx.Place, made *fsx.Dir, who owner, mode uint32, plantLog logPlanter) error {
	if err := plant(ctx, r, e, made, who); err != nil {
		return err
	}
	end, err := plantLog(f, made, who)
	if err != nil {
		return err
	}
	if err := finishDir(made, mode, who); err != nil {
		return err
	}
	if err := unix.Syncfs(made.FD()); err != nil {
		return fmt.Errorf("sync the file system of %s: %w", made.Path(), err)
	}
	return st.recover(ctx, at, made, *f, who, end)
}

// ownerOf is whose a data folder is going to be, and with which mode: as the one that is
// there, or as the one that was dumped.
func ownerOf(at fsx.Place, f Facts) (owner, uint32, error) {
	mode := f.Mode
	setter := meta.Setter{Owners: meta.NewOwnerIDs()}
	uid, gid := setter.Owner(&tree.Node{UID: f.UID, GID: f.GID, User: f.User, Group: f.Group})
	st, err := at.Stat()
	switch {
	case err == nil:
		uid, gid, mode = st.Uid, st.Gid, st.Mode&0o7777
	case !errors.Is(err, fs.ErrNotExist):
		return owner{}, 0, err
	}
	if uid == 0 && unix.Geteuid() == 0 {
		return owner{}, 0, fmt.Errorf("%s belongs to root, as whom PostgreSQL does not run: chown -R postgres: %s", at.Path(), at.Path())
	}
	return owner{int(uid), int(gid)}, mode, nil
}

// plantLog writes the log of a backup into the new data folder, and returns the last
// record that is whole.
func plantLog(ctx context.Context, r chunks.Reader, list pack.Stream, f Facts, data *fsx.Dir, who owner) (end wal.Record, err error) {
	err = inLog(data, func(logs *fsx.Dir) error {
		end, err = writeSegments(ctx, r, list, f, logs, who)
		return err
	})
	return end, err
}

// writeHistory writes where the timeline of a log comes from, unless it is the first one.
func writeHistory(f Facts, logs *fsx.Dir, who owner) error {
	if f.History == "" {
		return nil
	}
	return logs.Write(wal.HistoryFile(f.Timeline), func(file *os.File) error {
		_, err := file.WriteString(f.History)
		return errors.Join(err, who.give(int(file.Fd())))
	})
}

func writeSegments(ctx context.Context, r chunks.Reader, list pack.Stream, f Facts, logs *fsx.Dir, who owner) (end wal.Record, err error) {
	if err := writeHistory(f, logs, who); err != nil {
		return end, err
	}
	to := &segments{dir: logs, timeline: f.Timeline, size: f.Segment, who: who}
	defer func() { err = errors.Join(err, to.close()) }()
	is, err := copyLog(ctx, r, list, f.From, to.write)
	if err != nil {
		return end, err
	}
	if is != f.To {
		return end, fmt.Errorf("the log of the backup ends at %s, and not at %s", is, f.To)
	}
	if err := to.sync(); err != nil {
		return end, err
	}
	end, err = to.last(ctx, f.From, f.To)
	if err == nil && end.End < f.Stop {
		err = fmt.Errorf("the log of the backup ends at %s, before the base is whole at %s", end.End, f.Stop)
	}
	return end, err
}

// Signal files: what a server does with its data folder.
const (
	standbySignal  = "standby.signal"
	recoverySignal = "recovery.signal"
)

// launch starts a server on a data folder that is being made. It stays on the log's timeline.
func (st *stager) launch(ctx context.Context, at fsx.Place, data *fsx.Dir, f Facts, who owner, settings map[string]string) (*instance, error) {
	bin, err := st.programs.find(ctx, f.Major)
	if err != nil {
		return nil, err
	}
	i := &instance{bin: bin, data: data, who: who}
	if i.run, err = makeRun(ctx, at, who); err != nil {
		return nil, err
	}
	defer i.run.Close()
	all := map[string]string{"recovery_target_timeline": strconv.FormatUint(uint64(f.Timeline), 10), "shared_preload_libraries": f.Preload}
	maps.Copy(all, settings)
	return i, i.start(ctx, f.Major, all)
}

// recover has a server replay the log up to a record, and end.
func (st *stager) recover(ctx context.Context, at fsx.Place, data *fsx.Dir, f Facts, who owner, last wal.Record) error {
	if err := signal(data, who, recoverySignal, standbySignal); err != nil {
		return err
	}
	// It exits with "not found" for every file: all that there is lies in pg_wal.
	i, err := st.launch(ctx, at, data, f, who, map[string]string{"restore_command": "false", "recovery_target_lsn": last.Start.String()})
	if err != nil {
		return err
	}
	if err := i.wait(ctx); err != nil {
		return i.failure("replay the log", err)
	}
	is, err := readControl(data)
	if err != nil {
		return err
	}
	if is.State != stateShutDownInRecovery {
		return i.failure("replay the log", fmt.Errorf("the server has ended in state %d before %s", is.State, last.End))
	}
	if is.System != f.System {
		return fmt.Errorf("the data folder is that of server %d, and not of %d", is.System, f.System)
	}
	if err := signal(data, who, standbySignal, recoverySignal); err != nil {
		return err
	}
	return removeRun(ctx, at)
}

// signal makes one signal file, and removes the other.
func signal(data *fsx.Dir, who owner, is, not string) error {
	err := data.Write(is, func(f *os.File) error { return who.give(int(f.Fd())) })
	if err == nil {
		err = data.Remove(not)
	}
	if err == nil {
		err = data.Sync()
	}
	return err
}

// fingerprint describes the stage: which folder it is, of what, and that no server has
// written to it but to replay log.
func fingerprint(s *stage.Stage) (string, error) {
	n, err := readNote(s)
	if err != nil || n == nil {
		return "", err
	}
	d, err := s.In.OpenDir(s.Staged)
	if err != nil {
		return "", err
	}
	defer d.Close()
	self, err := d.Self()
	if err != nil {
		return "", err
	}
	is, err := readControl(d)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	standby, err := d.Exists(standbySignal)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %d\n", s.Path(s.Staged), self.Ino)
	fmt.Fprintf(&b, "%d %s %s\n", is.System, n.Start, n.From)
	if !is.recovering() || !standby {
		fmt.Fprintf(&b, "written to: state %d\n", is.State)
	}
	return b.String(), nil
}

package postgrescluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/program"
	"github.com/understudy-ha/understudy/backup/source/internal/stage"
	"github.com/understudy-ha/understudy/backup/source/internal/swap"
	"github.com/understudy-ha/understudy/backup/source/postgrescluster/internal/wal"
	"github.com/understudy-ha/understudy/backup/stream"
)

// A stage goes on by the log of a stream: a server of the agent's own, a hot standby, runs
// on it, and replays what is written into its pg_wal. It can be read. Everything that is
// known of it lies in the stage, and in the note beside it: the server goes on without the
// agent, and the agent goes on with a server that an earlier process has left.

// follower feeds a stage, and runs the server on it.
type follower struct {
	place    *place
	programs *programs
	stager   *stager
	timeout  time.Duration
	left     bool      // the server ran already when the stage was opened
	last     *instance // that this process has started last; nil: none
}

// staged is the stage, open.
type staged struct {
	x    stage.Placement
	data *fsx.Dir
	note note
	who  owner
}

// within does something with the stage; with nil where nothing is staged whole.
func (f *follower) within(do func(s *staged) error) error {
	return f.place.at(func(x stage.Placement) error {
		n, err := readNote(x.At())
		if err != nil {
			return err
		}
		if n == nil {
			return do(nil)
		}
		data, err := x.At().In.OpenDir(x.At().Staged)
		if err != nil {
			return err
		}
		defer data.Close()
		self, err := data.Self()
		if err != nil {
			return err
		}
		return do(&staged{x: x, data: data, note: *n, who: owner{int(self.Uid), int(self.Gid)}})
	})
}

// errNoStage says that there is nothing to go on with.
func (f *follower) errNoStage() error {
	return fmt.Errorf("%w at %s", swap.ErrNothingStaged, swap.Besides(f.place.path, "staged"))
}

// Followed implements Follower.
func (s *Source) Followed(ctx context.Context, begin json.RawMessage) (at stream.Position, ok bool, err error) {
	s.busy.Lock()
	defer s.busy.Unlock()
	err = s.follower.within(func(st *staged) error {
		if st == nil {
			return nil
		}
		is, err := readControl(st.data)
		if err != nil || !is.recovering() {
			return err
		}
		to, fits, err := st.in(ctx, begin)
		at, ok = stream.Position(to), fits
		return err
	})
	return at, ok, s.say("look how far the stage of %s goes", err)
}

// in is where the stage's log goes on in a stream that begins so.
func (st *staged) in(ctx context.Context, begin json.RawMessage) (at wal.LSN, ok bool, err error) {
	if begin == nil {
		return st.note.To, true, nil
	}
	b, err := readBegun(begin)
	if err != nil {
		return 0, false, err
	}
	if b.System != st.note.System || b.Timeline < st.note.Timeline {
		return 0, false, nil
	}
	if b.Timeline == st.note.Timeline {
		return st.note.To, true, nil
	}
	leaves, ok := leavesAt(b.History, st.note.Timeline)
	if !ok {
		return 0, false, nil
	}
	end, err := st.end(ctx)
	return min(st.note.To, leaves), err == nil && end <= leaves, err
}

func readBegun(begin json.RawMessage) (b begun, err error) {
	if err := json.Unmarshal(begin, &b); err != nil {
		return b, fmt.Errorf("read what the stream says of itself: %w", err)
	}
	return b, nil
}

// leavesAt is where a later timeline left another one, by its history.
func leavesAt(history string, parent uint32) (wal.LSN, bool) {
	for _, f := range forks(history) {
		if f.parent == parent {
			return f.at, true
		}
	}
	return 0, false
}

// Feed implements Follower.
func (s *Source) Feed(ctx context.Context, begin json.RawMessage, from stream.Position, log []byte) error {
	s.busy.Lock()
	defer s.busy.Unlock()
	err := s.follower.within(func(st *staged) error {
		if st == nil {
			return s.follower.errNoStage()
		}
		return s.follower.feed(ctx, st, begin, wal.LSN(from), log)
	})
	return s.say("feed the stage of %s", source.SayFull(err, usualSegment, filepath.Dir(fsx.RealPathOr(s.place.path))))
}

func (f *follower) feed(ctx context.Context, st *staged, begin json.RawMessage, from wal.LSN, log []byte) error {
	b, err := readBegun(begin)
	if err != nil {
		return err
	}
	if err := st.fits(ctx, &b, from); err != nil {
		return err
	}
	err = inLog(st.data, func(logs *fsx.Dir) (err error) {
		if b.Timeline == st.note.Timeline {
			err = st.compare(logs, from, log)
		} else {
			err = st.turn(logs, &b, from)
		}
		if err != nil {
			return err
		}
		to := &segments{dir: logs, timeline: b.Timeline, size: b.Segment, who: st.who}
		defer func() { err = errors.Join(err, to.close()) }()
		if err := to.write(from, log); err != nil {
			return err
		}
		return to.sync()
	})
	if err != nil {
		return err
	}
	to := from + wal.LSN(len(log))
	if b.Timeline == st.note.Timeline {
		to = max(to, st.note.To) // it may have been fed before
	}
	st.note.To, st.note.Timeline, st.note.History = to, b.Timeline, b.History
	if b.Term != nil {
		st.note.Term = b.Term
		if err := f.stager.terms.learn(b.Term); err != nil {
			return err
		}
	}
	if err := writeNote(st.x.At(), st.x.At().List, st.note); err != nil {
		return err
	}
	return f.run(ctx, st)
}

// compare compares the last page of the stage's log with what the stream has there: a server
// that was put back to an earlier state writes another log, on the same timeline.
func (st *staged) compare(logs *fsx.Dir, from wal.LSN, log []byte) error {
	n := &st.note
	begin := max(from, n.From, n.To-min(n.To, wal.PageSize))
	end := min(from+wal.LSN(len(log)), n.To)
	if begin >= end {
		return nil
	}
	has := make([]byte, end-begin)
	is := &segments{dir: logs, timeline: n.Timeline, size: n.Segment}
	switch err := is.read(begin, has); {
	case errors.Is(err, fs.ErrNotExist): // the server has replayed it, and removed it
		return nil
	case err != nil:
		return err
	case !bytes.Equal(has, log[begin-from:end-from]):
		return fmt.Errorf("%w: from %s to %s the stream has other bytes", source.ErrDiverged, begin, end)
	}
	return nil
}

// fits refuses log that does not go on where the stage ends.
func (st *staged) fits(ctx context.Context, b *begun, from wal.LSN) error {
	n := &st.note
	switch {
	case b.System != n.System:
		return fmt.Errorf("the log is of server %d, and the stage of %d: stage a backup of that server", b.System, n.System)
	case b.Major != n.Major:
		return fmt.Errorf("the log is of PostgreSQL %d, and the stage of %d: stage a backup of that version", b.Major, n.Major)
	case b.Segment != n.Segment:
		return fmt.Errorf("the log has segments of %d bytes, and the stage of %d", b.Segment, n.Segment)
	case from > n.To && b.Timeline == n.Timeline:
		return fmt.Errorf("%w: the log begins at %s, and the stage ends at %s", source.ErrGap, from, n.To)
	case b.Timeline < n.Timeline:
		return fmt.Errorf("the log is of timeline %d, and the stage of %d, which came later", b.Timeline, n.Timeline)
	case b.Timeline == n.Timeline:
		return nil
	}
	return st.forks(ctx, b, from)
}

// forks looks whether a stage is a beginning of a later timeline.
func (st *staged) forks(ctx context.Context, b *begun, from wal.LSN) error {
	n := &st.note
	leaves, ok := leavesAt(b.History, n.Timeline)
	if !ok {
		return fmt.Errorf("timeline %d does not come from timeline %d, which the stage is on", b.Timeline, n.Timeline)
	}
	end, err := st.end(ctx)
	switch {
	case err != nil:
		return err
	case end > leaves:
		return fmt.Errorf("timeline %d left timeline %d at %s, and the stage has replayed that up to %s: it has to be staged anew", b.Timeline, n.Timeline, leaves, end)
	case from > leaves:
		return fmt.Errorf("%w: timeline %d begins at %s, and its log at %s", source.ErrGap, b.Timeline, leaves, from)
	case n.To+wal.PageSize < from: // the last record may have ended in zeros, which nobody had to ship
		return fmt.Errorf("%w: the log begins at %s, and the stage ends at %s", source.ErrGap, from, n.To)
	}
	return nil
}

// end is where the last whole record of the stage's log ends.
func (st *staged) end(ctx context.Context) (end wal.LSN, err error) {
	err = inLog(st.data, func(logs *fsx.Dir) error {
		is, err := readControl(st.data)
		if err != nil {
			return err
		}
		end, err = lastIn(ctx, logs, logOf{st.note.Timeline, st.note.History, st.note.Segment}, is.Redo, st.note.To)
		return err
	})
	return end, err
}

// turn has the stage go on by a later timeline: its history, and the beginning of its
// first segment, which is that of the timeline before.
func (st *staged) turn(logs *fsx.Dir, b *begun, from wal.LSN) error {
	write := func(timeline uint32, text string) error {
		return logs.Write(wal.HistoryFile(timeline), func(f *os.File) error {
			_, err := f.WriteString(text)
			return errors.Join(err, st.who.give(int(f.Fd())))
		})
	}
	begin := wal.Start(from, b.Segment)
	prefix := make([]byte, from-begin)
	old := &segments{dir: logs, timeline: st.note.Timeline, size: b.Segment}
	if err := old.read(begin, prefix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	to := &segments{dir: logs, timeline: b.Timeline, size: b.Segment, who: st.who}
	if err := errors.Join(to.write(begin, prefix), to.sync(), to.close()); err != nil {
		return err
	}
	if err := write(b.Timeline, b.History); err != nil {
		return err
	}
	// The server looks for the newest timeline from its own on, as long as there is one
	// more: the ones between, from the top, so that none of them is ever the newest.
	for t := b.Timeline - 1; t > st.note.Timeline; t-- {
		if err := write(t, fmt.Sprintf("%d\t%s\t%s\n", st.note.Timeline, from, stubReason)); err != nil {
			return err
		}
	}
	return logs.Sync()
}

// run has the server run on the stage, and look for log.
func (f *follower) run(ctx context.Context, st *staged) error {
	pid, err := runningIn(st.data)
	if err != nil {
		return err
	}
	switch {
	case pid != 0 && outdated(pid):
		return f.again(ctx, st)
	case pid != 0:
		wake(pid)
		return nil
	}
	ended := f.ended()
	return errors.Join(ended, f.start(ctx, st))
}

// outdated tells whether the program of a server was replaced since it was started, as an
// upgrade to another minor version does.
func outdated(pid int) bool {
	exe := fmt.Sprintf("/proc/%d/exe", pid)
	path, err := os.Readlink(exe)
	if err != nil {
		return false // it has ended
	}
	was, ended := os.Stat(exe)
	is, missing := os.Stat(strings.TrimSuffix(path, " (deleted)"))
	return ended == nil && missing == nil && !os.SameFile(was, is)
}

// ended says why the last server has ended by itself.
func (f *follower) ended() error {
	if f.last == nil {
		return nil
	}
	select {
	case <-f.last.done:
		err := f.last.err
		var exit *exec.ExitError
		if !errors.As(err, &exit) || !exit.Exited() {
			return nil // somebody has stopped it, or killed it
		}
		return f.last.failure("the replica's server has ended", err)
	default:
		return nil
	}
}

// start starts the hot standby. It says nothing of its own accord: each look for log
// would be a line.
func (f *follower) start(ctx context.Context, st *staged) error {
	bin, err := f.programs.find(ctx, st.note.Major)
	if err != nil {
		return err
	}
	i := &instance{bin: bin, data: st.data, who: st.who}
	if i.run, err = makeRun(ctx, st.x.At().Place, st.who); err != nil {
		return err
	}
	defer i.run.Close()
	settings, err := requiredSettings(ctx, bin, st.data)
	if err != nil {
		return err
	}
	settings["hot_standby"] = "on"
	settings["unix_socket_directories"] = dataPath
	settings["wal_retrieve_retry_interval"] = "1s"
	settings["recovery_target_timeline"] = "latest"
	settings["shared_preload_libraries"] = st.note.Preload
	settings["log_min_messages"] = "fatal"
	// What it has not written yet when it is stopped has the application wait.
	settings["checkpoint_timeout"] = "30s"
	f.last = i
	return i.start(ctx, st.note.Major, settings)
}

// requiredSettings are those that a standby must have as large as the server whose log it
// replays, as the data folder has them.
func requiredSettings(ctx context.Context, bin string, data *fsx.Dir) (map[string]string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "pg_controldata"), "-D", dataPath)
	cmd.Env = program.Environ("LC_ALL=C")
	release, err := handOver(cmd, data)
	if err != nil {
		return nil, err
	}
	defer release()
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("read pg_control: %w", err)
	}
	names := map[string]string{
		"max_connections setting": "max_connections", "max_worker_processes setting": "max_worker_processes", "max_wal_senders setting": "max_wal_senders",
		"max_prepared_xacts setting": "max_prepared_transactions", "max_locks_per_xact setting": "max_locks_per_transaction",
	}
	settings := map[string]string{}
	for line := range strings.Lines(string(out)) {
		what, value, _ := strings.Cut(line, ":")
		if name, ok := names[what]; ok {
			settings[name] = strings.TrimSpace(value)
		}
	}
	if len(settings) != len(names) {
		return nil, fmt.Errorf("read pg_control: it has %d of %d settings", len(settings), len(names))
	}
	return settings, nil
}

// wake has a server look for log at once: its startup process waits for a signal, which
// does nothing else as long as no file says that the server is to be promoted.
func wake(postmaster int) {
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", postmaster, postmaster))
	if err != nil {
		return // it has ended
	}
	for _, child := range strings.Fields(string(children)) {
		pid, err := strconv.Atoi(child)
		if err != nil {
			continue
		}
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && bytes.HasPrefix(line, []byte("postgres:")) && bytes.Contains(line, []byte("startup ")) {
			_ = unix.Kill(pid, unix.SIGUSR2) // it may have ended
			return
		}
	}
}

// replayed asks the server how far it is, and whether it has paused.
func (st *staged) replayed(ctx context.Context) (at wal.LSN, paused bool, err error) {
	conn, err := connectIn(ctx, st.data, st.note.Super)
	if err != nil {
		return 0, false, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // nobody waits for it
	var text string
	err = conn.QueryRow(ctx, "SELECT coalesce(pg_catalog.pg_last_wal_replay_lsn(), '0/0')::text, pg_catalog.pg_is_wal_replay_paused()").Scan(&text, &paused)
	if err == nil {
		at, err = wal.Parse(text)
	}
	return at, paused, err
}

// Applied implements Follower.
func (s *Source) Applied(ctx context.Context) (a source.Applied, err error) {
	s.busy.Lock()
	defer s.busy.Unlock()
	err = s.follower.within(func(st *staged) error {
		if st == nil {
			return s.follower.errNoStage()
		}
		at, paused, err := st.replayed(ctx)
		a = source.Applied{To: stream.Position(at), Paused: paused}
		if err == nil && paused {
			err = s.follower.again(ctx, st)
		}
		return err
	})
	return a, s.say("look how far the replica of %s is", err)
}

// again starts a server anew: it has paused, since the server whose log it replays has larger
// settings by now, or its programs were replaced.
func (f *follower) again(ctx context.Context, st *staged) error {
	if err := endIn(ctx, st.data); err != nil {
		return err
	}
	return f.start(ctx, st)
}

// CatchUp implements Follower.
func (s *Source) CatchUp(ctx context.Context, to stream.Position) error {
	s.busy.Lock()
	defer s.busy.Unlock()
	return s.say("apply the log of %s", s.follower.within(func(st *staged) error {
		if st == nil {
			return s.follower.errNoStage()
		}
		if st.note.To < wal.LSN(to) {
			return fmt.Errorf("the stage's log ends at %s, before %s", st.note.To, wal.LSN(to))
		}
		return s.follower.catchUp(ctx, st)
	}))
}

// catchUp waits until the server has replayed the last whole record, and stops it. One
// that does not take connections is replaced by one that need not.
func (f *follower) catchUp(ctx context.Context, st *staged) error {
	end, err := st.end(ctx)
	if err != nil {
		return err
	}
	if err := f.run(ctx, st); err != nil {
		return err
	}
	limited, cancel := context.WithTimeoutCause(ctx, f.timeout, fmt.Errorf("it took longer than %v", f.timeout))
	defer cancel()
	if err := f.await(limited, st, end); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("wait for the replica to be at %s: %w", end, err)
	}
	return endIn(ctx, st.data)
}

// await waits until the server has replayed a record.
func (f *follower) await(ctx context.Context, st *staged, end wal.LSN) error {
	for {
		at, paused, err := st.replayed(ctx)
		switch {
		case err == nil && at >= end:
			return nil
		case err == nil && paused:
			err = f.again(ctx, st)
		default:
			err = errors.Join(f.run(ctx, st), err) // it may have ended
		}
		if rest(ctx) != nil {
			return errors.Join(context.Cause(ctx), err)
		}
	}
}

// OpenStage implements Shut: a probe reads the staged server by the socket in its folder.
func (s *Source) OpenStage(ctx context.Context) error {
	s.busy.Lock()
	defer s.busy.Unlock()
	return s.say("open the stage of %s", s.follower.within(func(st *staged) error {
		if st == nil {
			return s.follower.errNoStage()
		}
		pid, err := runningIn(st.data)
		if err != nil {
			return err
		}
		s.follower.left = pid != 0
		if err := s.follower.run(ctx, st); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeoutCause(ctx, s.cfg.Timeout, fmt.Errorf("it took longer than %v", s.cfg.Timeout))
		defer cancel()
		return s.follower.await(ctx, st, st.note.Stop)
	}))
}

// CloseStage implements Shut. Nobody can have written to a standby.
func (s *Source) CloseStage(ctx context.Context) error {
	s.busy.Lock()
	defer s.busy.Unlock()
	return s.say("close the stage of %s", s.follower.within(func(st *staged) error {
		if st == nil || s.follower.left {
			return nil
		}
		return endIn(ctx, st.data)
	}))
}

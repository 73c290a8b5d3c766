package postgrescluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source/postgrescluster/internal/wal"
)

// promote makes the standby's data folder a primary's, by a server of the agent's own:
// whatever the host's configuration says, and before any client can connect.
func (p *process) promote(ctx context.Context, epoch uint64) error {
	return p.within(func(at fsx.Place, data *fsx.Dir) error {
		is, err := readControl(data)
		if err != nil {
			return err
		}
		major, err := majorOf(data)
		if err != nil {
			return err
		}
		bin, err := p.programs.find(ctx, major)
		if err != nil {
			return err
		}
		who, _, err := ownerOf(at, Facts{})
		if err != nil {
			return err
		}
		timeline, err := p.prepare(ctx, data, who, epoch, is)
		if err != nil {
			return err
		}
		if err := p.promoteBy(ctx, at, &instance{bin: bin, data: data, who: who}, major, timeline); err != nil {
			return err
		}
		return inLog(data, removeStubs)
	})
}

// promoteBy runs the server, promotes it, and stops it once it is a primary.
func (p *process) promoteBy(ctx context.Context, at fsx.Place, i *instance, major int, timeline uint32) (err error) {
	if i.run, err = makeRun(ctx, at, i.who); err != nil {
		return err
	}
	defer i.run.Close()
	if err := signal(i.data, i.who, standbySignal, recoverySignal); err != nil {
		return err
	}
	err = i.start(ctx, major, map[string]string{"recovery_target_timeline": strconv.FormatUint(uint64(timeline), 10)})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, p.timeout, fmt.Errorf("it took longer than %v", p.timeout))
	defer cancel()
	for {
		standby, err := i.data.Exists(standbySignal)
		if err != nil {
			i.stop()
			return err
		}
		// It removes the file when it is one no more. The state follows.
		if is, err := readControl(i.data); err == nil && !standby && is.State > stateInArchiveRecovery {
			break
		}
		if err := i.askToPromote(); err != nil {
			i.stop()
			return err
		}
		select {
		case <-i.done:
			return i.failure("the server has ended", errors.Join(i.err, errors.New("it was not promoted")))
		case <-time.After(pause):
		case <-ctx.Done():
			i.stop()
			return i.failure("wait for the promotion", context.Cause(ctx))
		}
	}
	i.stop()
	if is, err := readControl(i.data); err != nil || is.State != stateShutDown {
		return i.failure("stop the server", errors.Join(err, errors.New("it has not shut down in an orderly way")))
	}
	return removeRun(ctx, at)
}

// connectIn connects to a server of the agent's own, by the socket in a held folder.
func connectIn(ctx context.Context, socket *fsx.Dir, user string) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(fmt.Sprintf("host=/proc/self/fd/%d port=%s dbname=postgres application_name=understudy connect_timeout=2", socket.FD(), port))
	if err != nil {
		return nil, err
	}
	cfg.User = user
	return pgx.ConnectConfig(ctx, cfg)
}

// askToPromote does what pg_ctl does. A server that has only just begun takes no notice.
func (i *instance) askToPromote() error {
	const file = "promote"
	there, err := i.data.Exists(file)
	if err != nil {
		return err
	}
	if !there {
		if err := i.data.Write(file, func(f *os.File) error { return i.who.give(int(f.Fd())) }); err != nil {
			return err
		}
	}
	pid, err := runningIn(i.data)
	if err == nil && pid != 0 {
		_ = unix.Kill(pid, unix.SIGUSR1) // it may have ended
	}
	return err
}

// majorOf reads the version of a data folder.
func majorOf(data *fsx.Dir) (int, error) {
	f, err := data.Open(versionFile, unix.O_RDONLY)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	major := 0
	if _, err := fmt.Fscan(io.LimitReader(f, 16), &major); err != nil {
		return 0, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	return major, nil
}

// prepare leaves the timeline that the epoch is to have as the first that nobody has: so
// PostgreSQL takes it. Where nothing is known of epochs before, it takes the next one.
// It returns the timeline that the log is on.
func (p *process) prepare(ctx context.Context, data *fsx.Dir, who owner, epoch uint64, is control) (timeline uint32, err error) {
	term, err := p.terms.read()
	if err != nil {
		return 0, err
	}
	wanted := uint32(0)
	if term != nil && epoch >= term.Epoch {
		wanted = term.timeline(epoch)
	}
	err = inLog(data, func(logs *fsx.Dir) error {
		if err := removeStubs(logs); err != nil {
			return err
		}
		log, err := newestLog(logs, is, wanted)
		if err != nil {
			return err
		}
		timeline = log.timeline
		if wanted <= timeline+1 {
			return logs.Sync()
		}
		end, err := lastIn(ctx, logs, log, is.Redo, 0)
		if err != nil {
			return err
		}
		for t := timeline + 1; t < wanted; t++ {
			if err := writeStub(logs, who, t, fmt.Sprintf("%d\t%s\t%s\n", timeline, end, stubReason)); err != nil {
				return err
			}
		}
		return logs.Sync()
	})
	return timeline, err
}

// logOf is the log that a data folder is on.
type logOf struct {
	timeline uint32
	history  string
	segment  uint64
}

// newestLog is the log that a standby's data folder is on: that of the last checkpoint, or
// of a later timeline that was fed since. The timeline that is wanted can only be of an
// earlier try to get it, which was cut off: no client has written anything on it.
func newestLog(logs *fsx.Dir, is control, wanted uint32) (logOf, error) {
	log := logOf{timeline: is.Timeline, segment: is.Segment}
	names, err := logs.Names()
	if err != nil {
		return log, err
	}
	for _, name := range names {
		number, ok := strings.CutSuffix(name, ".history")
		t, bad := strconv.ParseUint(number, 16, 32)
		switch {
		case !ok || bad != nil:
		case wanted > is.Timeline && uint32(t) >= wanted:
			if err := logs.Remove(name); err != nil {
				return log, err
			}
		case uint32(t) >= log.timeline:
			if log.history, err = readText(logs, name); err != nil {
				return log, err
			}
			log.timeline = uint32(t)
		}
	}
	return log, nil
}

func readText(in *fsx.Dir, name string) (string, error) {
	f, err := in.Open(name, unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer f.Close()
	const most = 1 << 20 // a line for each promotion
	data, err := io.ReadAll(io.LimitReader(f, most))
	return string(data), err
}

// stubReason is what a history file says that stands for a timeline of another host.
const stubReason = "understudy"

func writeStub(logs *fsx.Dir, who owner, timeline uint32, line string) error {
	name := wal.HistoryFile(timeline)
	if there, err := logs.Exists(name); err != nil || there {
		return err
	}
	return logs.Write(name, func(f *os.File) error {
		_, err := f.WriteString(line)
		return errors.Join(err, who.give(int(f.Fd())))
	})
}

// removeStubs removes what prepare has made, also in an earlier process.
func removeStubs(logs *fsx.Dir) error {
	names, err := logs.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if !strings.HasSuffix(name, ".history") {
			continue
		}
		is, err := isStub(logs, name)
		if err == nil && is {
			err = logs.Remove(name)
		}
		if err != nil {
			return err
		}
	}
	return logs.Sync()
}

// isStub tells whether a history file is of one line, with the reason of a stub.
func isStub(logs *fsx.Dir, name string) (bool, error) {
	text, err := readText(logs, name)
	return strings.Count(text, "\n") == 1 && strings.HasSuffix(text, "\t"+stubReason+"\n"), err
}

// lastIn is where the last whole record of a log ends that goes to a position; 0: to the
// end of the last segment that was begun. It is read from where the server would begin to
// replay. A server keeps old segments under the names of those to come, a gigabyte of them
// perhaps: they are not read.
func lastIn(ctx context.Context, logs *fsx.Dir, log logOf, redo, to wal.LSN) (wal.LSN, error) {
	s := &segments{dir: logs, timeline: log.timeline, size: log.segment}
	from := redo
	if to != 0 {
		from = min(from, to)
	}
	if f, ok := forkOf(log.history); ok {
		from = max(from, f.at) // before, the segments are those of another timeline
	}
	from = wal.Start(from, log.segment)
	for end := from; to == 0; end += wal.LSN(log.segment) {
		begun, err := s.begun(end)
		if err != nil {
			return 0, err
		}
		if !begun {
			to = end
			break
		}
	}
	last, err := s.last(ctx, from, to)
	return last.End, err
}

// inLog does something in pg_wal.
func inLog(data *fsx.Dir, do func(logs *fsx.Dir) error) error {
	logs, err := data.OpenDir("pg_wal")
	if err != nil {
		return err
	}
	defer logs.Close()
	return do(logs)
}

package postgrescluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/outlet"
	"github.com/understudy-ha/understudy/backup/source/internal/program"
)

// Start implements Served.
func (s *Source) Start(ctx context.Context, epoch uint64) error {
	s.busy.Lock()
	defer s.busy.Unlock()
	return s.say("start %s", s.process.begin(ctx, epoch))
}

// Stop implements Served.
func (s *Source) Stop(ctx context.Context) error { return s.say("stop %s", s.process.stopped(ctx)) }

// Sessions implements Connected: a server that runs takes writes from anybody.
func (s *Source) Sessions(context.Context) ([]string, error) {
	pid, err := s.process.running()
	if err != nil || pid == 0 {
		return nil, s.say("look whether %s runs", err)
	}
	return []string{fmt.Sprintf("the server of source %s (process %d)", s.Name(), pid)}, nil
}

// process is the server on the data folder, as the host starts and stops it.
type process struct {
	server      *primary
	place       *place
	programs    *programs
	terms       *terms
	start, stop []string
	timeout     time.Duration
	scratch     string
	keepOutput  outlet.Collector
}

// within does something with the data folder; there is none where it is nil.
func (p *process) within(do func(at fsx.Place, data *fsx.Dir) error) error {
	return fsx.At(p.place.path, func(at fsx.Place) error {
		if len(at.Missing) > 0 {
			return do(at, nil)
		}
		d, err := at.Dir.OpenDir(at.Name)
		if errors.Is(err, fs.ErrNotExist) {
			return do(at, nil)
		}
		if err != nil {
			return err
		}
		defer d.Close()
		return do(at, d)
	})
}

// running finds the server; 0 where none runs.
func (p *process) running() (pid int, err error) {
	err = p.within(func(_ fsx.Place, data *fsx.Dir) error {
		if data != nil {
			pid, err = runningIn(data)
		}
		return err
	})
	return pid, err
}

// stopped stops the server, if it runs, and returns when it has ended.
func (p *process) stopped(ctx context.Context) error {
	pid, err := p.running()
	if err != nil || pid == 0 {
		return err
	}
	if err := p.run(ctx, "stop", p.stop); err != nil {
		return err
	}
	// A server whose parent has not waited for it yet has ended all the same.
	ctx, cancel := context.WithTimeoutCause(ctx, settling, errors.New("stop has succeeded, and the server still runs: it may end only when the server has"))
	defer cancel()
	for {
		pid, err := p.running()
		if err != nil || pid == 0 {
			return err
		}
		if err := rest(ctx); err != nil {
			return fmt.Errorf("process %d in %s: %w", pid, p.place.path, err)
		}
	}
}

// settling is how long a server may take to end that was stopped.
const settling = 2 * time.Second

// begin has the server run as a primary, in an epoch.
func (p *process) begin(ctx context.Context, epoch uint64) error {
	is, pid := (*control)(nil), 0
	err := p.within(func(at fsx.Place, data *fsx.Dir) (err error) {
		if data == nil {
			return fmt.Errorf("%s is missing: restore it, or make a server", at.Path())
		}
		if is, err = controlAt(at); err == nil && is == nil {
			err = fmt.Errorf("%s is no data folder of PostgreSQL", at.Path())
		}
		if err == nil {
			pid, err = runningIn(data)
		}
		return err
	})
	if err != nil {
		return err
	}
	if is.recovering() {
		// A standby by its data folder: whoever has started it did not mean to promote it.
		if err := p.stopped(ctx); err != nil {
			return err
		}
		if err := p.promote(ctx, epoch); err != nil {
			return fmt.Errorf("promote: %w", err)
		}
		pid = 0
	}
	if pid == 0 {
		if err := p.run(ctx, "start", p.start); err != nil {
			return err
		}
	}
	timeline, err := p.ready(ctx)
	if err != nil {
		return err
	}
	return p.terms.begin(epoch, timeline)
}

// ready waits until the server takes writes, and returns its timeline.
func (p *process) ready(ctx context.Context) (timeline uint32, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, p.timeout, fmt.Errorf("it took longer than %v", p.timeout))
	defer cancel()
	for {
		var segment string // that it writes to: in recovery it is an error to ask
		err = p.server.with(ctx, func(conn *pgx.Conn) error {
			return conn.QueryRow(ctx, "SELECT pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn())").Scan(&segment)
		})
		if err == nil {
			return timelineOf(segment)
		}
		if rest(ctx) != nil {
			return 0, fmt.Errorf("wait for the server to take writes: %w (%w)", context.Cause(ctx), err)
		}
	}
}

// timelineOf is the timeline in the name of a segment.
func timelineOf(segment string) (uint32, error) {
	t, err := strconv.ParseUint(segment[:min(len(segment), 8)], 16, 32)
	if err != nil {
		return 0, fmt.Errorf("read the name of the segment %q: %w", segment, err)
	}
	return uint32(t), nil
}

// run runs stop or start to its end. A server that start leaves running may print for as
// long as it likes.
func (p *process) run(ctx context.Context, what string, argv []string) error {
	if err := fsx.MakeScratch(p.scratch); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, p.timeout, fmt.Errorf("it took longer than %v", p.timeout))
	defer cancel()
	prog := program.Program{Argv: argv, Env: program.Environ()}
	said := &outlet.Tail{Max: program.StderrKept}
	if err := outlet.Run(prog.Command(ctx, nil), filepath.Join(p.scratch, what+".log"), said, p.keepOutput); err != nil {
		return fmt.Errorf("%s the server: %w", what, prog.Failure(ctx, err, said))
	}
	return nil
}

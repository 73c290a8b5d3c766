package postgrescluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
	"github.com/understudy-ha/understudy/backup/source/postgrescluster/internal/wal"
)

// How often a server is asked how far its log is on its disk: while it writes some, and once it
// has written none for quietAfter.
const (
	readEvery  = 100 * time.Millisecond
	idleEvery  = 500 * time.Millisecond
	quietAfter = 2 * time.Second
)

// maxRead is how much log is read at a time.
const maxRead = 256 << 10

// reader reads a server's log in the server's own files, up to where the server says that it
// is on its disk, for commits that wait for nobody. A sender would be woken by each commit,
// and whoever commits would feel that (decision 26).
type reader struct {
	process  *process
	slot     slot
	system   uint64
	timeline uint32
	segment  uint64

	conn      *pgx.Conn // which has the lock
	at        wal.LSN   // behind what was read
	flushed   wal.LSN   // there is log up to here
	last      bool      // and no more: the server has stopped
	confirmed func() wal.LSN
	moved     wal.LSN   // the slot is there, or further
	asked     time.Time // when the server was asked last
	wrote     time.Time // when it had written, as was seen last
	told      time.Time // when the slot was moved, or looked at
	buf       []byte
}

// errElsewhere says that data_dir is not the server's.
var errElsewhere = errors.New("data_dir holds another server")

// read begins to read. The server has log up to now.
func (s *streamer) read(ctx context.Context, b begun, at, now wal.LSN) (*reader, error) {
	r := &reader{
		process: s.process, slot: s.slot, system: b.System, timeline: b.Timeline, segment: b.Segment,
		at: at, flushed: at, confirmed: func() wal.LSN { return 0 },
	}
	err := r.process.within(func(_ fsx.Place, data *fsx.Dir) error {
		if data == nil {
			return errElsewhere
		}
		is, err := readControl(data)
		if err == nil && is.System != b.System {
			err = errElsewhere
		}
		return err
	})
	if err == nil {
		err = r.files(func(logs *segments) error { return logs.read(at, make([]byte, min(1, now-min(at, now)))) })
	}
	if err != nil {
		return nil, err
	}
	conn, err := s.server.url.Connect(ctx)
	if err != nil {
		return nil, err
	}
	r.conn, r.told = conn, s.server.now()
	if err := r.slot.lock(ctx, conn); err != nil {
		r.close(ctx)
		return nil, err
	}
	return r, nil
}

// reached implements feed.
func (r *reader) reached() wal.LSN { return r.at }

// send implements feed: the slot is moved when the server is asked the next time.
func (r *reader) send() error { return nil }

// close implements feed.
func (r *reader) close(ctx context.Context) { pgclient.CloseConn(context.WithoutCancel(ctx), r.conn) }

// drop implements feed.
func (r *reader) drop() { _ = r.conn.PgConn().Conn().Close() }

// next implements feed. Behind all that a server which has stopped had to say it returns
// io.EOF.
func (r *reader) next(ctx context.Context, until time.Time) ([]byte, error) {
	for {
		if there := r.flushed - min(r.at, r.flushed); there > 0 {
			return r.take(min(there, maxRead))
		}
		if r.last {
			return nil, io.EOF
		}
		due := r.asked.Add(r.every())
		if !until.IsZero() && until.Before(due) {
			return nil, nil
		}
		if now := r.process.server.now(); now.Before(due) {
			if err := wait(ctx, due.Sub(now)); err != nil {
				return nil, err
			}
		}
		if err := r.ask(ctx); err != nil {
			return nil, err
		}
		if r.flushed > r.at {
			r.wrote = r.asked
		}
	}
}

// every is how long lies between two questions.
func (r *reader) every() time.Duration {
	if r.asked.Sub(r.wrote) > quietAfter {
		return idleEvery
	}
	return readEvery
}

// take reads some log that is there.
func (r *reader) take(size wal.LSN) ([]byte, error) {
	if cap(r.buf) < int(size) {
		r.buf = make([]byte, maxRead)
	}
	log := r.buf[:size]
	err := r.files(func(logs *segments) error {
		if err := logs.read(r.at, log); err != nil {
			return err
		}
		// A segment that was taken for another one while it was read does not have its name any more.
		_, err := logs.dir.Stat(wal.Segment(r.timeline, r.at, r.segment))
		return err
	})
	if err != nil {
		return nil, err
	}
	r.at += size
	return log, nil
}

// files does something with the server's segments.
func (r *reader) files(do func(logs *segments) error) error {
	err := r.process.within(func(_ fsx.Place, data *fsx.Dir) error {
		if data == nil {
			return fmt.Errorf("%s is missing", r.process.place.path)
		}
		return inLog(data, func(logs *fsx.Dir) error {
			return do(&segments{dir: logs, timeline: r.timeline, size: r.segment})
		})
	})
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: the server has deleted it: %w", source.ErrGap, err)
	}
	return err
}

// ask asks the server how far its log is, and tells it what is confirmed. A server that stops
// ends the connection at any moment.
func (r *reader) ask(ctx context.Context) error {
	r.asked = r.process.server.now()
	asking, cancel := context.WithTimeoutCause(ctx, r.process.server.answers, errNoAnswer)
	defer cancel()
	err := r.exchange(asking)
	if asking.Err() != nil {
		err = errors.Join(context.Cause(asking), err)
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case r.conn.IsClosed():
		return r.silent(ctx, err)
	}
	return err
}

func (r *reader) exchange(ctx context.Context) error {
	var at string
	if err := r.conn.QueryRow(ctx, "SELECT pg_catalog.pg_current_wal_flush_lsn()::text").Scan(&at); err != nil {
		return fmt.Errorf("ask the server how far its log is: %w", err)
	}
	flushed, err := wal.Parse(at)
	if err != nil {
		return err
	}
	r.flushed = flushed
	to := r.confirmed()
	if to <= r.moved && r.asked.Sub(r.told) < statusEvery {
		return nil
	}
	// Where there is nothing to move it is looked whether the slot is there, which counts as
	// used then (idle_replication_slot_timeout).
	if err := r.slot.advance(ctx, r.conn, to); err != nil {
		return err
	}
	r.moved, r.told = to, r.asked
	return nil
}

// answersIn is for how long a server may say nothing.
const answersIn = 10 * time.Second

var errNoAnswer = errors.New("the server does not answer")

// goneFor is for how long a server may take no connection, and say nothing of why, before it
// is taken for one that does not answer.
const goneFor = 5 * time.Second

// silent finds out what became of a server that does not answer. What one had to say that was
// stopped is in its files.
func (r *reader) silent(ctx context.Context, why error) error {
	for begun := r.process.server.now(); ; {
		end, runs, err := r.end(ctx)
		switch {
		case err != nil:
			return errors.Join(why, err)
		case end != 0:
			r.flushed, r.last = max(r.flushed, end), true
			return nil
		case !runs:
			return why
		}
		err = r.process.server.connects(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil: // it runs, or runs again, on other data perhaps
			return why
		case pgclient.IsCode(err, shuttingDown):
			begun = r.process.server.now()
		case r.process.server.now().Sub(begun) > goneFor:
			return why
		}
		if err := wait(ctx, stopLook); err != nil {
			return err
		}
	}
}

// stopLook is how often it is looked whether a server that stops has stopped.
const stopLook = 20 * time.Millisecond

// end is where the log of a server ends that was stopped; 0: it runs, or has ended otherwise.
func (r *reader) end(ctx context.Context) (end wal.LSN, runs bool, err error) {
	err = r.process.within(func(_ fsx.Place, data *fsx.Dir) error {
		if data == nil {
			return nil
		}
		pid, err := runningIn(data)
		if err != nil || pid != 0 {
			runs = true
			return err
		}
		is, err := readControl(data)
		if err != nil || is.State != stateShutDown {
			return err
		}
		if is.System != r.system || is.Timeline != r.timeline {
			return fmt.Errorf("%w: %s holds server %d on timeline %d now, and not %d on %d", source.ErrGap, r.process.place.path, is.System, is.Timeline, r.system, r.timeline)
		}
		return inLog(data, func(logs *fsx.Dir) (err error) {
			end, err = lastIn(ctx, logs, logOf{timeline: r.timeline, segment: r.segment}, is.Redo, 0)
			return err
		})
	})
	return end, runs, err
}

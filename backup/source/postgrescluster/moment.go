package postgrescluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/chunks"
	"github.com/understudy-ha/understudy/backup/source/internal/swap"
	"github.com/understudy-ha/understudy/backup/source/postgrescluster/internal/wal"
	"github.com/understudy-ha/understudy/backup/stream"
)

// A moment is a log that ends sooner: before the record of the first commit that is later.
// A server that is started on it replays it to its end, as with any restored log, and needs
// no target of a recovery, which it would fail at where the log has no later commit.

// recording is source.RecordingOf.
func recording(e source.Entry) (source.Recording, bool) {
	f, err := factsOf(e)
	if err != nil || f.StopTime.IsZero() || f.ToTime.IsZero() {
		return source.Recording{}, false
	}
	log := fmt.Sprintf("%d/%d", f.System, f.Timeline)
	return source.Recording{
		Base: fmt.Sprintf("%s/%s/%d", log, f.Start, f.BaseTime.Unix()), Log: log,
		Joins: stream.Position(f.Joins), From: stream.Position(f.Stop), Since: f.StopTime, To: stream.Position(f.To), Until: f.ToTime,
	}, true
}

// logFrom is source.LogFrom.
func logFrom(ctx context.Context, r *pack.Reader, e source.Entry, from stream.Position, take func(at stream.Position, log []byte) error) error {
	_, err := copyLog(ctx, r, *e.Extra, wal.LSN(from), func(at wal.LSN, log []byte) error { return take(stream.Position(at), log) })
	return err
}

// continues is source.Continues: a stream of the same server, on the same timeline.
func continues(e source.Entry, begin json.RawMessage) bool {
	f, err := factsOf(e)
	if err != nil {
		return false
	}
	b, err := readBegun(begin)
	return err == nil && b.System == f.System && b.Timeline == f.Timeline && b.Segment == f.Segment
}

// exportMoment is source.ExportMoment.
func exportMoment(ctx context.Context, r *pack.Reader, e source.Entry, at fsx.Place, m source.Moment) (reached source.Reached, err error) {
	f, err := factsOf(e)
	if err != nil {
		return reached, err
	}
	if err := afterBase(f, m); err != nil {
		return reached, err
	}
	err = swap.Export(ctx, at, func(made *fsx.Dir) error {
		return fill(ctx, r, e, f, made, func(who owner) error {
			return inLog(made, func(logs *fsx.Dir) error {
				reached, _, err = plantMoment(ctx, r, *e.Extra, f, logs, who, m)
				return err
			})
		})
	})
	return reached, err
}

// afterBase refuses a moment before the base is whole: what it has of later commits nobody
// knows.
func afterBase(f Facts, m source.Moment) error {
	if m.Time.Before(f.StopTime) {
		return fmt.Errorf("the base is whole from %s on: choose a later moment", f.StopTime.Format(time.RFC3339Nano))
	}
	return nil
}

// StageMoment implements MomentStager. The server may run.
func (s *Source) StageMoment(ctx context.Context, r *pack.Reader, e source.Entry, m source.Moment) (reached source.Reached, err error) {
	s.busy.Lock()
	defer s.busy.Unlock()
	err = s.stager.stageWith(ctx, e, r, func(f *Facts, made *fsx.Dir, who owner) (last wal.Record, err error) {
		if err := afterBase(*f, m); err != nil {
			return last, err
		}
		err = inLog(made, func(logs *fsx.Dir) (err error) {
			var end wal.LSN
			if reached, end, err = plantMoment(ctx, r, *e.Extra, *f, logs, who, m); err != nil {
				return err
			}
			f.To, f.ToTime = end, m.Time
			last, err = (&segments{dir: logs, timeline: f.Timeline, size: f.Segment}).last(ctx, f.From, end)
			return err
		})
		return last, err
	})
	return reached, s.say("stage %s", err)
}

// plantMoment writes the log up to a moment, and returns where that ends.
func plantMoment(ctx context.Context, r chunks.Reader, list pack.Stream, f Facts, logs *fsx.Dir, who owner, m source.Moment) (reached source.Reached, end wal.LSN, err error) {
	if err := writeHistory(f, logs, who); err != nil {
		return reached, 0, err
	}
	c := newCutter(f, logs, who, m.Time)
	defer func() { err = errors.Join(err, c.to.close()) }()
	_, err = copyLog(ctx, r, list, f.From, c.write)
	if err == nil && m.More != nil {
		err = m.More(ctx, stream.Position(f.To), func(at stream.Position, log []byte) error { return c.write(wal.LSN(at), log) })
	}
	if err != nil && !errors.Is(err, wal.ErrTold) {
		return reached, 0, err
	}
	return c.end()
}

// cutter writes log up to the first commit that is later than a time.
type cutter struct {
	f       Facts
	to      *segments
	time    time.Time
	scanner *wal.Scanner
	written wal.LSN
	last    *time.Time  // of the commits before
	later   *wal.Commit // the first one that is later
}

func newCutter(f Facts, logs *fsx.Dir, who owner, at time.Time) *cutter {
	c := &cutter{
		f: f, to: &segments{dir: logs, timeline: f.Timeline, size: f.Segment, who: who}, written: f.From,
		time: at.Truncate(time.Microsecond), // as finely as the server knows times
	}
	c.scanner = wal.NewScanner(f.From, f.Segment, func(is wal.Commit) bool {
		if is.Time.After(c.time) {
			c.later = &is
			return false
		}
		c.last = &is.Time
		return true
	})
	return c
}

// write takes log, which may have been written before.
func (c *cutter) write(at wal.LSN, log []byte) error {
	if at > c.written {
		return fmt.Errorf("the log has a gap: from %s to %s", c.written, at)
	}
	known := min(len(log), int(c.written-at))
	if log, at = log[known:], c.written; len(log) == 0 {
		return nil
	}
	if err := c.to.write(at, log); err != nil {
		return err
	}
	c.written = at + wal.LSN(len(log))
	err := c.scanner.Scan(log)
	if err != nil && !errors.Is(err, wal.ErrTold) {
		err = fmt.Errorf("the log ends at %s, before the moment: %w", c.scanner.End(), err)
	}
	return err
}

// end makes the log end before the commit that is later.
func (c *cutter) end() (reached source.Reached, end wal.LSN, err error) {
	end = c.scanner.End()
	if c.later != nil {
		end = c.later.Start
		if err := c.blank(end); err != nil {
			return reached, 0, err
		}
		reached.Later = &c.later.Time
	}
	if end < c.f.Stop {
		return reached, 0, fmt.Errorf("the log has a later commit at %s, before the base is whole at %s: the server's clock went back; choose a later moment", end, c.f.Stop)
	}
	reached.Position, reached.Last = end.String(), c.last
	return reached, end, c.to.sync()
}

// blank writes zeros over what was written from a position on.
func (c *cutter) blank(from wal.LSN) error {
	zeros := make([]byte, 256<<10)
	for from < c.written {
		n := min(len(zeros), int(c.written-from))
		if err := c.to.write(from, zeros[:n]); err != nil {
			return err
		}
		from += wal.LSN(n)
	}
	return nil
}

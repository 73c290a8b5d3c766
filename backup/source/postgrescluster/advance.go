package postgrescluster

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/chunks"
	"github.com/understudy-ha/understudy/backup/source/internal/stage"
	"github.com/understudy-ha/understudy/backup/source/postgrescluster/internal/wal"
)

// Advance implements Advancer: the log that the stage lacks is added, and replayed. A stage
// that has followed a stream may be further than the backup, and stays so. Where the log
// does not go on there, the stage is built anew.
func (s *Source) Advance(ctx context.Context, r *pack.Reader, _, to source.Entry) error {
	proven, why, err := s.stager.prove(ctx, r, to) // while the stage follows
	if err == nil {
		s.busy.Lock()
		defer s.busy.Unlock()
		err = s.stager.advance(ctx, r, to, proven)
		switch {
		case errors.Is(err, errAnew):
			err = s.stager.stage(ctx, r, to)
		case err == nil:
			err = source.JudgeAgain(ctx, func(part string) bool { return part == partOfCopy })
			if proven == 0 {
				err = errors.Join(err, source.Judge(ctx, "base", source.Findings{Unchecked: []string{why}}))
			}
		}
	}
	return s.say("bring the stage of %s forward", err)
}

// errAnew says that a stage cannot be brought forward.
var errAnew = errors.New("the stage has to be built anew")

// advance brings a stage forward. proven is where the base of the backup begins, if that was
// restored here, and 0 otherwise.
func (st *stager) advance(ctx context.Context, r chunks.Reader, to source.Entry, proven wal.LSN) error {
	f, err := st.accept(ctx, to)
	if err != nil {
		return err
	}
	return st.place.at(func(x stage.Placement) error {
		n, err := readNote(x.At())
		switch {
		case err != nil:
			return err
		case n == nil || n.System != f.System || n.Timeline != f.Timeline || n.To < f.From:
			return errAnew
		}
		if err := sameLog(ctx, r, to, f, x.At(), n); err != nil {
			return err
		}
		s, at := x.At(), n.To
		next := note{Facts: f, Proven: cmp.Or(proven, n.Proven)}
		if f.To <= at { // it has all of it: a server that runs there goes on
			next.To = at
			return writeNote(s, s.List, next)
		}
		if err := endStaged(ctx, x); err != nil {
			return err
		}
		prepare := func(_, _ *fsx.Dir) error { return writeNote(s, s.Listing, next) }
		return s.Advance(ctx, prepare, func() error { return st.goOn(ctx, r, to, f, s, at) })
	})
}

// sameLog compares the last page of what both a stage and a backup have of the log: a server
// that was put back to an earlier state writes another one, on the same timeline.
func sameLog(ctx context.Context, r chunks.Reader, to source.Entry, f Facts, s *stage.Stage, n *note) error {
	data, err := s.In.OpenDir(s.Staged)
	if err != nil {
		return err
	}
	defer data.Close()
	end := min(n.To, f.To)
	enough := errors.New("enough was read")
	err = inLog(data, func(logs *fsx.Dir) error {
		is := &segments{dir: logs, timeline: n.Timeline, size: n.Segment}
		_, err := copyLog(ctx, r, *to.Extra, max(n.From, f.From, end-min(end, wal.PageSize)), func(at wal.LSN, log []byte) error {
			if at >= end {
				return enough
			}
			log = log[:min(len(log), int(end-at))]
			has := make([]byte, len(log))
			switch err := is.read(at, has); {
			case errors.Is(err, fs.ErrNotExist): // the server has replayed it, and removed it
				return enough
			case err != nil:
				return err
			case !bytes.Equal(has, log):
				return errAnew
			}
			return nil
		})
		return err
	})
	if errors.Is(err, enough) {
		return nil
	}
	return err
}

// goOn adds log to a stage, and replays it.
func (st *stager) goOn(ctx context.Context, r chunks.Reader, to source.Entry, f Facts, s *stage.Stage, from wal.LSN) error {
	data, err := s.In.OpenDir(s.Places()[0]) // its name for as long as it is changed
	if err != nil {
		return err
	}
	defer data.Close()
	self, err := data.Self()
	if err != nil {
		return err
	}
	who := owner{int(self.Uid), int(self.Gid)}
	is, err := readControl(data)
	if err != nil {
		return err
	}
	var last wal.Record
	err = inLog(data, func(logs *fsx.Dir) (err error) {
		files := &segments{dir: logs, timeline: f.Timeline, size: f.Segment, who: who}
		defer func() { err = errors.Join(err, files.close()) }()
		end, err := copyLog(ctx, r, *to.Extra, from, files.write)
		if err == nil && end != f.To {
			err = fmt.Errorf("the log of the backup ends at %s, and not at %s", end, f.To)
		}
		if err == nil {
			err = files.sync()
		}
		if err == nil {
			last, err = files.last(ctx, max(f.From, wal.Start(min(is.Redo, from), f.Segment)), f.To)
		}
		return err
	})
	if err != nil || last.Start <= is.Redo { // nothing new is whole, behind a stop of the server
		return err
	}
	return st.recover(ctx, s.Place, data, f, who, last)
}

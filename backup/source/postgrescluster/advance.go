package postgrescluster

import (
	"context"
	"errors"
	"fmt"

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
	s.busy.Lock()
	defer s.busy.Unlock()
	err := s.stager.advance(ctx, r, to)
	if errors.Is(err, errAnew) {
		err = s.stager.stage(ctx, r, to)
	}
	return s.say("bring the stage of %s forward", err)
}

// errAnew says that a stage cannot be brought forward.
var errAnew = errors.New("the stage has to be built anew")

func (st *stager) advance(ctx context.Context, r chunks.Reader, to source.Entry) error {
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
		if err := endStaged(ctx, x); err != nil {
			return err
		}
		s, at := x.At(), n.To
		f.To = max(f.To, at)
		prepare := func(_, _ *fsx.Dir) error { return writeNote(s, s.Listing, note{Facts: f}) }
		return s.Advance(ctx, prepare, func() error {
			if f.To == at {
				return nil
			}
			return st.goOn(ctx, r, to, f, s, at)
		})
	})
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

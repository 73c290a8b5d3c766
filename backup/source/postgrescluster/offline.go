package postgrescluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/chunks"
	"github.com/understudy-ha/understudy/backup/source/postgrescluster/internal/wal"
)

// offline is a backup of a server that does not run: that of a host that was replaced, for
// one. The log of the backup before goes on by what lies in the data folder. Whoever has
// replaced the host may have that, too: then nothing is added.
func (d *dumper) offline(ctx context.Context, w chunks.Writer, prev *source.Previous, data *fsx.Dir) (e source.Entry, err error) {
	if prev == nil {
		return e, errors.New("the server does not run, and there is no backup that goes on with its log: start it")
	}
	f, err := factsOf(prev.Entry)
	if err != nil {
		return e, err
	}
	var added []piece
	err = inLog(data, func(logs *fsx.Dir) error {
		files, end, err := left(ctx, data, logs, f)
		if err != nil {
			return fmt.Errorf("the server does not run, and %w: start it", err)
		}
		if covered, ok := source.Covered(ctx, d.name); ok && end <= wal.LSN(covered) || end <= f.To {
			return nil
		}
		log, err := files.goesOn(f, end)
		if err != nil {
			return fmt.Errorf("the server does not run, and %w: start it", err)
		}
		if added, err = storeLog(ctx, w, f.To, log); err == nil {
			f.To, f.Tail, f.ToTime = end, log.digest(), d.server.now().UTC()
		}
		return err
	})
	if err != nil {
		return e, err
	}
	e = prev.Entry
	if e.Root, err = keepBase(ctx, w, prev.Reader, e.Root); err != nil {
		return e, err
	}
	extra, err := writeLog(ctx, w, prev.Reader, prev.Entry.Extra, added)
	if err != nil {
		return e, err
	}
	e.Extra, e.Size = &extra, f.BaseBytes+f.logSize()
	e.Facts, err = json.Marshal(f)
	return e, err
}

// left is the log in the data folder of a server that does not run, and where its last whole
// record ends. It has to be that of a backup.
func left(ctx context.Context, data, logs *fsx.Dir, f Facts) (*segments, wal.LSN, error) {
	is, err := readControl(data)
	if err != nil {
		return nil, 0, err
	}
	log, err := newestLog(logs, is, 0)
	if err != nil {
		return nil, 0, err
	}
	if is.System != f.System || log.timeline != f.Timeline {
		return nil, 0, fmt.Errorf("the backup is of server %d on timeline %d, and not of %d on %d", f.System, f.Timeline, is.System, log.timeline)
	}
	end, err := lastIn(ctx, logs, log, is.Redo, 0)
	return &segments{dir: logs, timeline: log.timeline, size: log.segment}, end, err
}

// goesOn fails where what is left of a log up to a position is not that of a backup, with more.
func (s *segments) goesOn(f Facts, to wal.LSN) (*tailing, error) {
	from := max(f.From, f.To-min(f.To, tail))
	log := &tailing{from: &fileSpan{files: s, at: from, to: to}}
	return log, compareTail(log, f.To-from, f.Tail)
}

// fileSpan reads log from files, up to a position.
type fileSpan struct {
	files  *segments
	at, to wal.LSN
}

// Read implements io.Reader.
func (s *fileSpan) Read(p []byte) (int, error) {
	if s.at >= s.to {
		return 0, io.EOF
	}
	n := min(len(p), int(s.to-s.at))
	if err := s.files.read(s.at, p[:n]); err != nil {
		return 0, err
	}
	s.at += wal.LSN(n)
	return n, nil
}

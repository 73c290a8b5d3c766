package postgrescluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source/internal/stage"
	"github.com/understudy-ha/understudy/backup/source/postgrescluster/internal/wal"
)

// place is where the data folder lies, and beside it what is staged, replaced, or waits
// to be deleted.
type place struct {
	path  string
	fault func(step string) error
}

// at does something where the path leads now.
func (p *place) at(what func(x stage.Placement) error) error {
	at, err := fsx.Resolve(p.path)
	if err != nil {
		return err
	}
	x, err := stage.Of(at, false, p.fault)
	if err != nil {
		return err
	}
	defer x.Release()
	return what(x)
}

// note is what is kept beside a stage: what it is of, and how far its log goes.
type note struct {
	Facts
	// Proven is where the base begins that was restored here last, in the stage or beside it.
	Proven wal.LSN `json:"proven,omitzero"`
}

// maxNote is more than a note measures.
const maxNote = 1 << 20

// readNote reads the note of the stage; nil where nothing is staged whole.
func readNote(s *stage.Stage) (*note, error) {
	if there, err := s.Exists(s.Staged); err != nil || !there {
		return nil, err
	}
	data, err := s.In.ReadOwn(s.List, maxNote)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	n := new(note)
	if err := json.Unmarshal(data, n); err != nil {
		return nil, fmt.Errorf("read %s: %w", s.Path(s.List), err)
	}
	return n, nil
}

// writeNote writes it under a name, durably.
func writeNote(s *stage.Stage, name string, n note) error {
	data, err := json.Marshal(n)
	if err != nil {
		return err
	}
	const private = 0o600
	if err := s.In.Replace(name, data, private); err != nil {
		return fmt.Errorf("write %s: %w", s.Path(name), err)
	}
	return s.In.Sync()
}

// endStaged stops the server of the agent's own that works in the stage, or in one that
// was never whole.
func endStaged(ctx context.Context, x stage.Placement) error {
	s := x.At()
	if s.In == nil {
		return nil
	}
	for _, name := range s.Places() {
		if err := endAt(ctx, s.In, name); err != nil {
			return err
		}
	}
	return nil
}

// endAt stops the server of the agent's own that works in a folder with a name, if one is there.
func endAt(ctx context.Context, in *fsx.Dir, name string) error {
	st, err := in.Stat(name)
	if err != nil || !fsx.IsDir(st) { // nothing, or what somebody has put there
		return err
	}
	d, err := in.OpenDir(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.Close()
	return endIn(ctx, d)
}

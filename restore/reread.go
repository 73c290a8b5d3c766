package restore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/polite"
	"github.com/understudy-ha/understudy/backup/source"
)

// Reread is how far the reading of the stage's content has come. It is kept
// across restarts, and from one staged backup to the next, until nothing is
// staged any more.
type Reread struct {
	Source string      `json:"source,omitempty"` // where it goes on
	At     source.Spot `json:"at"`
	Round  Round       `json:"round"`          // under way
	Last   *Round      `json:"last,omitempty"` // the last whole one
}

// Round is one reading of all that is staged.
type Round struct {
	Began   time.Time `json:"began"`
	Ended   time.Time `json:"ended,omitzero"`
	Files   int64     `json:"files"` // that were read
	Bytes   int64     `json:"bytes"`
	Unread  int64     `json:"unread,omitempty"`  // files that this agent may not read
	Damaged int64     `json:"damaged,omitempty"` // files whose content was not the backup's
}

// Rotten is a file of the stage whose content is not the backup's.
type Rotten struct {
	Source string
	At     source.Spot
}

// String names it.
func (r Rotten) String() string {
	if r.At.Path == "" {
		return fmt.Sprintf("what is staged of %s, from byte %d on", r.Source, r.At.Offset)
	}
	return fmt.Sprintf("%s in %s, from byte %d on", r.At.Path, r.Source, r.At.Offset)
}

const rereadFile = "reread.json"

// Rereads says how far the reading of the stage's content has come.
func (s *Swapper) Rereads() (Reread, error) { return s.journal.rereads() }

func (d *journalDir) rereads() (Reread, error) {
	var state Reread
	err := readJSON(filepath.Join(d.dir, rereadFile), &state)
	if isBroken(err) {
		return Reread{}, nil // the round begins again
	}
	return state, err
}

// Reread reads what is staged, which is m, where the last call left off, up to a
// number of bytes, and compares it with the backup: the chunks' names are enough.
// It stops at the end of a round, and at the first file whose content is not the
// backup's, which Distrust is for. It waits for nothing: while something is being
// staged or swapped, or when m is not staged, it does nothing.
func (s *Swapper) Reread(ctx context.Context, r *pack.Reader, m *backup.Manifest, budget int64, now time.Time) (read int64, bad *Rotten, err error) {
	read, bad, err = s.rereader.read(ctx, r, m, budget, now)
	if err != nil {
		return read, bad, fmt.Errorf("read the stage of backup %s: %w", m.ID, err)
	}
	return read, bad, nil
}

// rereader reads stages, a little at a time.
type rereader struct {
	changes interface { // held by whatever changes the state
		TryLock() bool
		Unlock()
	}
	journal *journalDir
	set     *sourceSet
}

func (re *rereader) read(ctx context.Context, r *pack.Reader, m *backup.Manifest, budget int64, now time.Time) (read int64, bad *Rotten, err error) {
	to, err := pinOf(m)
	if err != nil {
		return 0, nil, err
	}
	state, err := re.journal.rereads()
	if err != nil {
		return 0, nil, err
	}
	if state.Round.Began.IsZero() {
		state.Round.Began = now
	}
	for read < budget && bad == nil {
		src := re.set.rereadAt(state.Source)
		if src == nil {
			state.end(now)
			break
		}
		if src.Name() != state.Source {
			state.Source, state.At = src.Name(), source.Spot{}
		}
		passage, ok, err := re.passage(ctx, r, to, src, state.At, budget-read)
		if !ok || err != nil {
			return read, nil, errors.Join(err, re.journal.saveReread(to, state))
		}
		read += max(passage.Cost, 1)
		if bad = state.add(passage); bad == nil && passage.Ended {
			next := re.set.rereadAfter(src)
			if next == nil {
				state.end(now)
				break
			}
			state.Source, state.At = next.Name(), source.Spot{}
		}
	}
	return read, bad, re.journal.saveReread(to, state)
}

// add takes over what a reading came to.
func (state *Reread) add(p source.Passage) (bad *Rotten) {
	state.Round.Files += p.Files
	state.Round.Bytes += p.Bytes
	state.Round.Unread += p.Unread
	if state.At = p.Next; p.Bad == nil {
		return nil
	}
	state.At = *p.Bad
	return &Rotten{state.Source, *p.Bad}
}

// end ends a round.
func (state *Reread) end(now time.Time) {
	last := state.Round
	last.Ended = now
	*state = Reread{Last: &last}
}

// Rereadable reports whether there is any.
func (s *Swapper) Rereadable() bool { return len(s.set.rereadable()) > 0 }

// passage reads a part of one source's stage. The Swapper is only held while
// that is opened.
func (re *rereader) passage(ctx context.Context, r *pack.Reader, to pin, src source.Source, from source.Spot, budget int64) (p source.Passage, ok bool, err error) {
	var content source.StagedContent
	ok, err = re.whileStaged(ctx, to, src, func(e source.Entry) (err error) {
		content, err = src.(source.Rereader).OpenStaged(e)
		return err
	})
	if !ok || err != nil {
		return p, ok, err
	}
	err = polite.WithReader(ctx, r, func(r *pack.Reader) error {
		p, err = content.Read(ctx, r, from, budget)
		return err
	})
	return p, true, errors.Join(err, content.Close())
}

// whileStaged does something while nothing changes a source's stage, which is
// whole. It reports false where something does, or where it is not.
func (re *rereader) whileStaged(ctx context.Context, to pin, src source.Source, do func(source.Entry) error) (bool, error) {
	if !re.changes.TryLock() {
		return false, nil
	}
	defer re.changes.Unlock()
	j, err := re.journal.read()
	if err != nil || j.State != Staged || j.pin != to {
		return false, err
	}
	record, err := j.heldOf(ctx, src)
	if record == nil || err != nil {
		return false, err
	}
	return true, do(record.Entry)
}

// Distrust reads again what Reread found to be bad, and reports whether it is
// still so. Then the stage does not count as whole, and the next Stage restores
// what is bad in it.
func (s *Swapper) Distrust(ctx context.Context, r *pack.Reader, m *backup.Manifest, rotten Rotten) (bad bool, err error) {
	to, err := pinOf(m)
	if err != nil {
		return false, err
	}
	src := s.set.rereadAt(rotten.Source)
	if src == nil || src.Name() != rotten.Source {
		return false, nil
	}
	_, err = s.rereader.whileStaged(ctx, to, src, func(e source.Entry) error {
		if bad, err = src.(source.Rereader).Distrust(ctx, r, e, rotten.At); err != nil || !bad {
			return err
		}
		state, err := s.journal.rereads()
		if err != nil {
			return err
		}
		state.Round.Damaged++
		state.At = rotten.At.Behind()
		return s.journal.writeReread(state)
	})
	if err != nil {
		return bad, fmt.Errorf("read %s again: %w", rotten, err)
	}
	return bad, nil
}

// saveReread keeps how far the reading has come, while that stage is there.
func (d *journalDir) saveReread(of pin, state Reread) error {
	if j, err := d.read(); err != nil || j.State != Staged || j.pin != of {
		return err
	}
	return d.writeReread(state)
}

func (d *journalDir) writeReread(state Reread) error {
	text, err := json.Marshal(state)
	if err != nil {
		return err
	}
	return writeDurably(filepath.Join(d.dir, rereadFile), text)
}

// forgetReread forgets it: nothing is staged any more.
func (d *journalDir) forgetReread() error {
	err := os.Remove(filepath.Join(d.dir, rereadFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

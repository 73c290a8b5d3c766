package postgrescluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/understudy-ha/understudy/backup/fsx"
)

// Term says which timeline an epoch has. Each epoch after it has the next one, so no two
// epochs ever have the same, on whatever host.
type Term struct {
	Epoch    uint64 `json:"epoch"`
	Timeline uint32 `json:"timeline"`
}

// timeline is the timeline of an epoch.
func (t Term) timeline(epoch uint64) uint32 { return t.Timeline + uint32(epoch-t.Epoch) }

// terms keeps which timeline an epoch has had, in the scratch folder.
type terms struct{ scratch string }

func (t *terms) path() string { return filepath.Join(t.scratch, "term.json") }

// read returns what is known; nil for nothing.
func (t *terms) read() (*Term, error) {
	data, err := os.ReadFile(t.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	term := new(Term)
	if err := json.Unmarshal(data, term); err != nil {
		return nil, fmt.Errorf("read %s: %w", t.path(), err)
	}
	return term, nil
}

// begin notes the timeline of an epoch that has begun.
func (t *terms) begin(epoch uint64, timeline uint32) error {
	is := Term{Epoch: epoch, Timeline: timeline}
	was, err := t.read()
	if err != nil {
		return err
	}
	if was != nil && epoch >= was.Epoch {
		// What an epoch could have had, another host may have had.
		is.Timeline = max(timeline, was.timeline(epoch))
	}
	if was != nil && *was == is {
		return nil
	}
	data, err := json.Marshal(is)
	if err != nil {
		return err
	}
	if err := fsx.MakeScratch(t.scratch); err != nil {
		return err
	}
	return fsx.ReplaceFile(t.path(), func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// learn takes over what a backup says, of which nothing is known here yet.
func (t *terms) learn(term *Term) error {
	if term == nil {
		return nil
	}
	was, err := t.read()
	if err != nil || was != nil && was.timeline(max(was.Epoch, term.Epoch)) >= term.timeline(max(was.Epoch, term.Epoch)) {
		return err
	}
	return t.begin(term.Epoch, term.Timeline)
}

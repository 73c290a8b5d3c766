package datadir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/google/renameio/v2"

	"github.com/understudy-ha/understudy/ha"
)

// stamped is a journal as it is on the disk.
type stamped struct {
	ha.Journal
	Stamp *stamp `json:"stamp,omitempty"` // nil: an earlier version wrote it
}

// LoadJournal reads the journal; false when there is none. A journal that is not
// in the file in which it was written says so (ha.Journal.Doubt).
func (d *Dir) LoadJournal() (j ha.Journal, found bool, err error) {
	f, err := os.Open(d.File(JournalFile))
	if errors.Is(err, fs.ErrNotExist) {
		return j, false, nil
	}
	if err != nil {
		return j, false, fmt.Errorf("read the journal: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var s stamped
	if err := json.NewDecoder(f).Decode(&s); err != nil {
		return j, true, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	if s.Format != ha.Format {
		return s.Journal, true, fmt.Errorf("read %s: it has format %d, this version reads format %d", f.Name(), s.Format, ha.Format)
	}
	if s.Stamp == nil {
		return s.Journal, true, nil
	}
	now, err := stampOf(f, d.host)
	if err != nil {
		return s.Journal, true, err
	}
	if why := now.differs(*s.Stamp); why != "" {
		s.Suspect(fmt.Sprintf(doubtText, why))
	}
	return s.Journal, true, nil
}

// SaveJournal replaces the journal, durably, by one that knows its own file.
func (d *Dir) SaveJournal(j ha.Journal) error {
	return d.saveBy(JournalFile, func() error { return d.replaceJournal(j) })
}

func (d *Dir) replaceJournal(j ha.Journal) (err error) {
	f, err := renameio.NewPendingFile(d.File(JournalFile), renameio.WithTempDir(d.path), renameio.WithPermissions(0o600), renameio.WithExistingPermissions())
	if err != nil {
		return err
	}
	defer func() {
		if failure := f.Cleanup(); err == nil {
			err = failure
		}
	}()
	own, err := stampOf(f.File, d.host)
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(stamped{Journal: j, Stamp: &own}, "", "  ")
	if err != nil {
		return err
	}
	if _, err := f.Write(append(data, '\n')); err != nil {
		return err
	}
	if err := f.CloseAtomicallyReplace(); err != nil {
		return err
	}
	return syncFolder(d.path)
}

// ReadJournal reads what the data folder at path says of its instance, without
// locking it, and whether or not an agent is running on it. It is nil when the
// folder is missing or belongs to no cluster, which is also so while an Init is
// unfinished.
func ReadJournal(path string) (*ha.Journal, error) {
	d := Dir{path: path}
	j, found, err := d.LoadJournal()
	if err != nil || !found || j.Pending != nil && j.Pending.Token == "" {
		return nil, err
	}
	return &j, nil
}

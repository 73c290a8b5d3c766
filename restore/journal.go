package restore

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/understudy-ha/understudy/backup/source"
)

// State is how far a Swapper has come. See the package documentation.
type State string

// States of a Swapper.
const (
	Idle      State = ""          // nothing staged, nothing replaced
	Staging   State = "staging"   // stages may be there, in part
	Staged    State = "staged"    // every source is staged
	Swapping  State = "swapping"  // some sources may be new
	Swapped   State = "swapped"   // every source is new, the replaced states are kept
	Restoring State = "restoring" // some sources may be old again
	Finishing State = "finishing" // every source is new, some replaced states may be gone
)

const journalFormat = 1

// journal is what a Swapper remembers on disk.
type journal struct {
	Format  int             `json:"format"`
	State   State           `json:"state"`
	pin                     // of what is staged, or being staged or swapped
	Sources []journalSource `json:"sources"`
	// Stages are the sources' stages that are whole, each with its fingerprint. A
	// record whose fingerprint does not hold any more says nothing. While Idle they
	// are what a failure left to be brought forward.
	Stages []stageRecord `json:"stages,omitempty"`
	// Places are where the sources' paths led when this began, by name: a link
	// may lead elsewhere by now, and what began must end where it began.
	Places map[string]string `json:"places,omitempty"`
	// Earlier is, while Staging, the backup that Stages still hold in full.
	Earlier *pin `json:"earlier,omitempty"`
}

// pin names a backup.
type pin struct {
	Backup string `json:"backup"` // id
	Digest string `json:"digest"` // of what its manifest says
}

// stageRecord is one source's stage.
type stageRecord struct {
	Source journalSource `json:"source"`
	Entry  source.Entry  `json:"entry"`
	// Fingerprint is how the stage was left.
	Fingerprint string `json:"seal"`
	// Moment says that it is of a moment, and of no backup: only a swap can use it.
	Moment bool `json:"moment,omitempty"`
	// Found is what was found out about it; nil for nothing.
	Found *source.Findings `json:"found,omitempty"`
}

type journalSource struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
}

func (s journalSource) String() string { return s.Kind + " " + s.Name }

const journalFile = "swap.json"

// journalDir is the directory in which a Swapper remembers what it does.
type journalDir struct {
	dir      string
	announce func(step string, do func() error) error
}

func (d *journalDir) path() string { return filepath.Join(d.dir, journalFile) }

// read reads the journal. None means Idle.
func (d *journalDir) read() (journal, error) {
	var j journal
	err := readJSON(d.path(), &j)
	if errors.Is(err, fs.ErrNotExist) {
		return journal{}, nil
	}
	if err == nil && j.Format != journalFormat {
		err = fmt.Errorf("its format is %d, this version knows %d", j.Format, journalFormat)
	}
	if err != nil {
		return journal{}, fmt.Errorf("read swap journal: %w", err)
	}
	return j, nil
}

// write moves the journal to a new state, durably. Idle removes it, unless
// stages are left.
func (d *journalDir) write(j *journal, state State) error {
	j.Format, j.State = journalFormat, state
	if state != Staging {
		j.Earlier = nil
	}
	step, do := "swapper."+string(state), func() error { return d.save(j) }
	if state == Idle {
		j.pin, j.Sources, step = pin{}, nil, "swapper.idle"
		if len(j.Stages) == 0 {
			do = d.forget
		}
	}
	if err := d.announce(step, do); err != nil {
		return fmt.Errorf("write swap journal: %w", err)
	}
	return nil
}

func (d *journalDir) save(j *journal) error {
	data, err := json.Marshal(j)
	if err != nil {
		return err
	}
	return writeDurably(d.path(), data)
}

// forget removes the journal, durably, and what is known of a stage.
func (d *journalDir) forget() error {
	if err := os.Remove(d.path()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return errors.Join(d.forgetReread(), syncDir(d.dir))
}

package staging

import (
	"slices"
	"sync"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/datadir"
	"github.com/understudy-ha/understudy/ha/sources"
)

// maxRehearsals is how many attestations an instance keeps.
const maxRehearsals = 10

// Rehearsals is what an instance has attested of the rehearsals of its cached
// backups: the newest of each, newest first. It is kept on disk, and safe for
// concurrent use.
type Rehearsals struct {
	folder sources.Folder

	keeping sync.Mutex // held while the disk is written, which may take for ever
	mu      sync.Mutex
	all     []ha.Rehearsal
}

// OpenRehearsals reads what was attested. A file that is damaged is an error, and
// nothing is attested then.
func OpenRehearsals(folder sources.Folder) (*Rehearsals, error) {
	var all []ha.Rehearsal
	if _, err := folder.Load(datadir.RehearsalsFile, &all); err != nil {
		return &Rehearsals{folder: folder}, err
	}
	return &Rehearsals{folder: folder, all: all}, nil
}

// Of returns what is attested of a backup.
func (r *Rehearsals) Of(id string) (ha.Rehearsal, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.IndexFunc(r.all, func(one ha.Rehearsal) bool { return one.Backup == id })
	if i < 0 {
		return ha.Rehearsal{}, false
	}
	return r.all[i], true
}

// passed reports whether the newest rehearsal of a backup passed, with doubts or
// without.
func (r *Rehearsals) passed(id string) bool {
	one, found := r.Of(id)
	return found && one.Staged()
}

// List returns what is attested of the cached backups.
func (r *Rehearsals) List(cached []backup.Ref) []ha.Rehearsal {
	r.mu.Lock()
	defer r.mu.Unlock()
	return keepCached(r.all, cached)
}

// add attests a rehearsal in place of an earlier one of the same backup, and
// forgets those of backups that are no longer cached.
func (r *Rehearsals) add(one ha.Rehearsal, cached []backup.Ref) error {
	r.keeping.Lock()
	defer r.keeping.Unlock()
	r.mu.Lock()
	others := slices.DeleteFunc(keepCached(r.all, cached), func(old ha.Rehearsal) bool { return old.Backup == one.Backup })
	r.all = slices.Insert(others, 0, one)
	r.all = r.all[:min(len(r.all), maxRehearsals)]
	all := slices.Clone(r.all)
	r.mu.Unlock()
	return r.folder.Save(datadir.RehearsalsFile, all)
}

func keepCached(all []ha.Rehearsal, cached []backup.Ref) []ha.Rehearsal {
	var kept []ha.Rehearsal
	for _, one := range all {
		if slices.ContainsFunc(cached, func(ref backup.Ref) bool { return ref.ID == one.Backup }) {
			kept = append(kept, one)
		}
	}
	return kept
}

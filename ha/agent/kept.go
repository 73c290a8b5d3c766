package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/ha/datadir"
	"github.com/understudy-ha/understudy/ha/event"
)

// What a restore had replaced that was interrupted, and of which nobody knew whether
// it is still needed, is kept on this host (Settlement.Kept) until an operator deletes
// it. The status names it as long as it is there.

const keptEvery = time.Minute // between two looks whether it is still there

// keptState is one earlier state of a source.
type keptState struct {
	Path  string    `json:"path"` // or what else names it
	Since time.Time `json:"since"`
}

func (k keptState) String() string {
	return fmt.Sprintf("what an interrupted restore had replaced is kept in %s since %s: delete it once you know that nobody needs it", k.Path, k.Since.UTC().Format(time.RFC3339))
}

// noteKept remembers what is kept.
func noteKept(d *datadir.Dir, paths []string, now time.Time) error {
	if len(paths) == 0 {
		return nil
	}
	var all []keptState
	if _, err := d.Load(datadir.KeptFile, &all); err != nil {
		all = nil // a list that cannot be read must not keep a host from joining
	}
	for _, path := range paths {
		all = append(all, keptState{path, now})
	}
	return d.Save(datadir.KeptFile, all)
}

// keptStates is what is known to be kept here. It is safe for concurrent use.
type keptStates struct {
	mu  sync.Mutex
	all []keptState
}

func (k *keptStates) set(all []keptState) (changed bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	changed = !slices.Equal(k.all, all)
	k.all = all
	return changed
}

func (k *keptStates) texts() (all []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range k.all {
		all = append(all, s.String())
	}
	return all
}

// keepKept looks now and then what is still kept. What cannot be looked at counts as
// there. What is gone stays on the list: its file system may be mounted again.
func (a *Agent) keepKept(ctx context.Context) error {
	var all []keptState
	if _, err := a.dir.Load(datadir.KeptFile, &all); err != nil {
		a.tell.Note(ctx, event.Warn, "agent", "what interrupted restores have kept on this host is not known: "+err.Error(), nil)
	}
	for len(all) > 0 {
		if a.keptHere.set(slices.DeleteFunc(slices.Clone(all), func(k keptState) bool { return a.isGone(ctx, k.Path) })) {
			a.tell.Changed()
		}
		if err := wait(ctx, keptEvery); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

// isGone reports whether somebody has deleted what was kept.
func (a *Agent) isGone(ctx context.Context, path string) bool {
	for _, s := range a.live().Sources {
		if k, ok := s.(source.Keeper); ok && k.Keeps(path) {
			there, err := k.IsKept(ctx, path)
			return err == nil && !there
		}
	}
	_, err := os.Lstat(path)
	return filepath.IsAbs(path) && errors.Is(err, fs.ErrNotExist)
}

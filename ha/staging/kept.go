package staging

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
	"github.com/understudy-ha/understudy/ha/clock"
	"github.com/understudy-ha/understudy/ha/datadir"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/sources"
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

// NoteKept remembers what is kept.
func NoteKept(folder sources.Folder, paths []string, now time.Time) error {
	if len(paths) == 0 {
		return nil
	}
	var all []keptState
	if _, err := folder.Load(datadir.KeptFile, &all); err != nil {
		all = nil // a list that cannot be read must not keep a host from joining
	}
	for _, path := range paths {
		all = append(all, keptState{path, now})
	}
	return folder.Save(datadir.KeptFile, all)
}

// Kept is what is known to be kept here. It is safe for concurrent use.
type Kept struct {
	folder  sources.Folder
	log     event.Reporter
	inForce func() []source.Source

	mu  sync.Mutex
	all []keptState
}

// NewKept has not looked yet.
func NewKept(folder sources.Folder, log event.Reporter, inForce func() []source.Source) *Kept {
	return &Kept{folder: folder, log: log, inForce: inForce}
}

func (k *Kept) set(all []keptState) (changed bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	changed = !slices.Equal(k.all, all)
	k.all = all
	return changed
}

// Texts says it for people.
func (k *Kept) Texts() (all []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range k.all {
		all = append(all, s.String())
	}
	return all
}

// Run looks now and then what is still kept. What cannot be looked at counts as
// there. What is gone stays on the list: its file system may be mounted again.
func (k *Kept) Run(ctx context.Context) error {
	var all []keptState
	if _, err := k.folder.Load(datadir.KeptFile, &all); err != nil {
		k.log.Note(ctx, event.Warn, "agent", "what interrupted restores have kept on this host is not known: "+err.Error(), nil)
	}
	for len(all) > 0 {
		if k.set(slices.DeleteFunc(slices.Clone(all), func(one keptState) bool { return k.isGone(ctx, one.Path) })) {
			k.log.Changed()
		}
		if err := clock.Wait(ctx, keptEvery); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

// isGone reports whether somebody has deleted what was kept.
func (k *Kept) isGone(ctx context.Context, path string) bool {
	for _, s := range k.inForce() {
		if keeper, ok := s.(source.Keeper); ok && keeper.Keeps(path) {
			there, err := keeper.IsKept(ctx, path)
			return err == nil && !there
		}
	}
	_, err := os.Lstat(path)
	return filepath.IsAbs(path) && errors.Is(err, fs.ErrNotExist)
}

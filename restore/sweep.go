package restore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"

	"github.com/understudy-ha/understudy/backup/holder"
	"github.com/understudy-ha/understudy/backup/source"
)

// Sweep deletes what Rollback, Drop, Finish and Stage have set aside, as far as
// it can be deleted, and returns what is left. It may run beside everything else
// that the Swapper does. With a context of Polite, it takes low priority. One
// source's failure keeps no other from being swept.
func (s *Swapper) Sweep(ctx context.Context) ([]source.Leftover, error) {
	return s.set.sweep(ctx)
}

// placeOf is where a source's path leads now; "" where it leads nowhere, or
// cannot lead anywhere else.
func placeOf(src source.Source) string {
	if p, ok := src.(source.Placed); ok {
		if place, err := p.Place(); err == nil {
			return place
		}
	}
	return ""
}

func swept(ctx context.Context, src source.Source) ([]source.Leftover, error) {
	sweeper, ok := src.(source.Sweeper)
	if !ok {
		return nil, nil
	}
	return sweeper.Sweep(ctx)
}

// Live is where the live state lies that a Swap would replace, as far as somebody
// may have it open.
func (s *Swapper) Live() ([]holder.Place, error) { return s.places(source.Openable.Live) }

// Replaced is where the state lies that a Swap has replaced.
func (s *Swapper) Replaced() ([]holder.Place, error) { return s.places(source.Openable.Replaced) }

func (s *Swapper) places(of func(source.Openable) ([]holder.Place, error)) ([]holder.Place, error) {
	j, err := s.journal.read()
	if err != nil {
		return nil, err
	}
	var all []holder.Place
	for _, src := range j.placed(s.set.all) {
		held, ok := src.(source.Openable)
		if !ok {
			continue
		}
		places, err := of(held)
		if err != nil {
			return nil, fmt.Errorf("find where %s lies: %w", src.Name(), err)
		}
		all = append(all, places...)
	}
	return all, nil
}

// freed makes the room free that a source's stage takes. What cannot be deleted
// shows in the next Sweep.
func freed(ctx context.Context, src source.Source) error {
	if err := src.SwapBack(ctx); err != nil {
		return err
	}
	_, err := swept(ctx, src)
	return err
}

// asides remembers at which places something was set aside, for links may lead
// elsewhere by the time that it is deleted. A note that is lost costs room,
// nothing else: so a failure to write it is none of anything.
type asides struct {
	path string

	mu     sync.Mutex
	places map[string][]string // by source
}

const asidesFile = "aside.json"

func openAsides(dir string) (*asides, error) {
	a := &asides{path: filepath.Join(dir, asidesFile), places: map[string][]string{}}
	err := readJSON(a.path, &a.places)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errBroken) {
		err = nil
	}
	return a, err
}

func (a *asides) of(name string) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.places[name])
}

func (a *asides) note(src source.Source) {
	place := placeOf(src)
	a.mu.Lock()
	defer a.mu.Unlock()
	if place == "" || slices.Contains(a.places[src.Name()], place) {
		return
	}
	a.places[src.Name()] = append(a.places[src.Name()], place)
	a.save()
}

func (a *asides) forget(name, place string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.places[name] = slices.DeleteFunc(a.places[name], func(p string) bool { return p == place })
	a.save()
}

func (a *asides) save() {
	if data, err := json.Marshal(a.places); err == nil {
		_ = writeDurably(a.path, data)
	}
}

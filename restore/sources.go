package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/source"
)

// sourceSet is the sources that are staged and swapped together.
type sourceSet struct {
	all      []source.Source
	asides   *asides
	announce func(step string, do func() error) error
	volume   func(ctx context.Context, src source.Source) error
}

func (set *sourceSet) names() []journalSource {
	names := make([]journalSource, len(set.all))
	for i, src := range set.all {
		names[i] = journalSource{src.Kind(), src.Name()}
	}
	return names
}

// entries gives the backup's entry for each source, in the sources' order.
func (set *sourceSet) entries(m *backup.Manifest) ([]source.Entry, error) {
	byName := make(map[string]source.Entry, len(m.Sources))
	theirs := make([]journalSource, len(m.Sources))
	for i, e := range m.Sources {
		byName[e.Name] = e
		theirs[i] = journalSource{e.Kind, e.Name}
	}
	if len(byName) != len(m.Sources) {
		return nil, errors.New("two sources in it have the same name")
	}
	if err := set.match("the backup", theirs); err != nil {
		return nil, err
	}
	entries := make([]source.Entry, len(set.all))
	for i, src := range set.all {
		entries[i] = byName[src.Name()]
	}
	return entries, nil
}

// ErrSources means that the sources configured here are not those of the
// backup or the journal; its message names them. Nothing was touched.
var ErrSources = errors.New("sources differ")

// match compares what is configured with what a backup or the journal has.
func (set *sourceSet) match(what string, theirs []journalSource) error {
	ours := make(map[journalSource]bool)
	for _, r := range set.all {
		ours[journalSource{r.Kind(), r.Name()}] = true
	}
	var missing, extra []string
	for _, t := range theirs {
		if !ours[t] {
			missing = append(missing, t.String())
		}
		delete(ours, t)
	}
	for _, r := range set.all {
		if o := (journalSource{r.Kind(), r.Name()}); ours[o] {
			extra = append(extra, o.String())
		}
	}
	var parts []string
	if len(missing) > 0 {
		parts = append(parts, what+" has "+strings.Join(missing, ", ")+", which is not configured here")
	}
	if len(extra) > 0 {
		parts = append(parts, "configured here is "+strings.Join(extra, ", ")+", which "+what+" does not have")
	}
	if len(parts) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrSources, strings.Join(parts, "; "))
}

// do runs one step of one source.
func (set *sourceSet) do(verb string, src source.Source, step func() error) error {
	if verb != "swap" { // something is set aside
		set.asides.note(src)
	}
	if err := set.announce("source."+strings.ReplaceAll(verb, " ", "-"), step); err != nil {
		return fmt.Errorf("%s %s: %w", verb, src.Name(), err)
	}
	return nil
}

// onVolume is do for a source that has something which was replaced, or may.
func (set *sourceSet) onVolume(ctx context.Context, verb string, src source.Source, step func() error) error {
	return set.do(verb, src, func() error {
		if err := set.volume(ctx, src); err != nil {
			return err
		}
		return step()
	})
}

// checkVolumes is checkVolume for several.
func (set *sourceSet) checkVolumes(ctx context.Context, sources []source.Source) error {
	errs := make([]error, len(sources))
	for i, src := range sources {
		errs[i] = set.volume(ctx, src)
	}
	return errors.Join(errs...)
}

// unheard fails where a swap is unfinished of which the journal does not know: it
// is lost, or an older one. What such a swap has put into place may hold what no
// backup has, and nothing here may touch it.
func (set *sourceSet) unheard(ctx context.Context) error {
	for _, src := range set.all {
		switch reach, err := src.Reach(ctx); {
		case err != nil:
			return err
		case reach >= source.ReachBegun:
			return fmt.Errorf("%s: %w", src.Name(), source.ErrUnfinished)
		}
	}
	return nil
}

// abandon drops the stage of a source whose path leads elsewhere by now.
func (set *sourceSet) abandon(ctx context.Context, j journal, src source.Source) error {
	moved, err := j.moved(src)
	if err != nil || !moved {
		return err
	}
	was := src.(source.Placed).At(j.Places[src.Name()])
	err = set.do("swap back", was, func() error { return was.SwapBack(ctx) })
	if errors.Is(err, fs.ErrNotExist) {
		return nil // its file system went with the link
	}
	return err
}

// held gives, for each source, its stage if that is as the journal says; nil
// otherwise.
func (set *sourceSet) held(ctx context.Context, j journal) ([]*stageRecord, error) {
	held := make([]*stageRecord, len(set.all))
	for i, src := range set.all {
		record, err := j.heldOf(ctx, src)
		if err != nil {
			return nil, err
		}
		held[i] = record
	}
	return held, nil
}

// purgeSources sets aside what every source has staged, wherever that is.
func (set *sourceSet) purge(ctx context.Context, j journal) (left []source.Leftover) {
	configured := make(map[journalSource]bool)
	for i, src := range set.all {
		configured[journalSource{src.Kind(), src.Name()}] = true
		err := set.do("swap back", src, func() error { return src.SwapBack(ctx) })
		if was := j.placed(set.all)[i]; placeOf(was) != placeOf(src) {
			err = errors.Join(err, set.do("swap back", was, func() error { return was.SwapBack(ctx) }))
		}
		if err != nil {
			left = append(left, source.Leftover{Path: "what is staged of " + src.Kind() + " " + src.Name(), Bytes: -1, Reason: err.Error()})
		}
	}
	for _, stage := range append(sourcesOf(j.Stages), j.Sources...) {
		if configured[stage] {
			continue
		}
		configured[stage] = true // once
		path := "what is staged of " + stage.String()
		if place := j.Places[stage.Name]; place != "" {
			path += ", beside " + place
		}
		left = append(left, source.Leftover{Path: path, Bytes: -1, Reason: "the source is not configured here any more"})
	}
	return left
}

func sourcesOf(stages []stageRecord) []journalSource {
	var all []journalSource
	for _, s := range stages {
		all = append(all, s.Source)
	}
	return all
}

func (set *sourceSet) sweep(ctx context.Context) ([]source.Leftover, error) {
	var all []source.Leftover
	var errs []error
	for _, src := range set.all {
		left, err := swept(ctx, src)
		all, errs = append(all, left...), append(errs, err)
		p, ok := src.(source.Placed)
		if !ok {
			continue
		}
		now := placeOf(src)
		for _, place := range set.asides.of(src.Name()) {
			if place == now {
				continue
			}
			left, err := swept(ctx, p.At(place))
			all, errs = append(all, left...), append(errs, err)
			if err == nil && len(left) == 0 {
				set.asides.forget(src.Name(), place)
			}
		}
	}
	return all, errors.Join(errs...)
}

// rereadable are the sources whose stage can be read again.
func (set *sourceSet) rereadable() (all []source.Source) {
	for _, src := range set.all {
		if _, ok := src.(source.Rereader); ok {
			all = append(all, src)
		}
	}
	return all
}

// rereadAt is the source of a name, or else the first; nil: there is none.
func (set *sourceSet) rereadAt(name string) source.Source {
	all := set.rereadable()
	for _, src := range all {
		if src.Name() == name {
			return src
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all[0]
}

func (set *sourceSet) rereadAfter(src source.Source) source.Source {
	all := set.rereadable()
	for i, one := range all[:max(0, len(all)-1)] {
		if one.Name() == src.Name() {
			return all[i+1]
		}
	}
	return nil
}

// ErrVolume means that a source does not lie on the file system on which it lay
// before. Nothing was changed there: what is staged, replaced or live on the
// other one is out of sight.
var ErrVolume = errors.New("not the file system that it was on")

// checkVolume fails where a source must not be changed.
func (s *Swapper) checkVolume(ctx context.Context, src source.Source) error {
	if s.Volume == nil {
		return nil
	}
	return s.Volume(ctx, src)
}

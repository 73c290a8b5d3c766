package restore

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
)

// Stage builds every source's state beside its target. Free space is checked
// first, over all sources that share a file system (ErrNoSpace). A source in
// the backup that is not configured here, or the reverse, is ErrSources. An
// earlier stage is replaced; after a failure nothing is staged. It is refused
// (ErrState) while a swap is neither rolled back nor finished. progress may be
// nil.
func (s *Swapper) Stage(ctx context.Context, r *pack.Reader, m *backup.Manifest, progress func(backup.Progress)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.stage(ctx, r, m, progress); err != nil {
		return fmt.Errorf("stage backup %s: %w", m.ID, err)
	}
	return nil
}

func (s *Swapper) stage(ctx context.Context, r *pack.Reader, m *backup.Manifest, progress func(backup.Progress)) error {
	entries, err := s.entries(m)
	if err != nil {
		return err
	}
	j, err := s.read()
	switch {
	case err != nil:
		return err
	case j.State.replaced():
		return fmt.Errorf("%w: %s has to be rolled back or finished first", ErrState, s.unfinished(j))
	}
	// Names are written down before anything is staged, so that it is known
	// whose stages to drop.
	earlier := j
	j = journal{Backup: m.ID, Sources: s.names()}
	if err := s.checkSpace(ctx, entries, earlier); err != nil {
		return err
	}
	if err := s.write(&j, Staging); err != nil {
		return err
	}
	if err := s.stageAll(ctx, r, entries, progress); err != nil {
		return errors.Join(err, s.rollback(ctx, j))
	}
	return s.write(&j, Staged)
}

func (s *Swapper) stageAll(ctx context.Context, r *pack.Reader, entries []source.Entry, progress func(backup.Progress)) error {
	return eachEntry(entries, progress, func(i int, e source.Entry) error {
		return s.do("stage", s.sources[i], func() error { return s.sources[i].Stage(ctx, r, e) })
	})
}

// eachEntry runs do for every entry, reporting progress between them.
func eachEntry(entries []source.Entry, progress func(backup.Progress), do func(i int, e source.Entry) error) error {
	var now backup.Progress
	for _, e := range entries {
		now.Total += e.Size
	}
	report := func() {
		if progress != nil {
			progress(now)
		}
	}
	for i, e := range entries {
		now.Step = e.Kind + " " + e.Name
		report()
		if err := do(i, e); err != nil {
			return err
		}
		now.Done += e.Size
		report()
	}
	return nil
}

// entries gives the backup's entry for each source, in the sources' order.
func (s *Swapper) entries(m *backup.Manifest) ([]source.Entry, error) {
	byName := make(map[string]source.Entry, len(m.Sources))
	theirs := make([]journalSource, len(m.Sources))
	for i, e := range m.Sources {
		byName[e.Name] = e
		theirs[i] = journalSource{e.Kind, e.Name}
	}
	if len(byName) != len(m.Sources) {
		return nil, errors.New("two sources in it have the same name")
	}
	if err := s.match("the backup", theirs); err != nil {
		return nil, err
	}
	entries := make([]source.Entry, len(s.sources))
	for i, src := range s.sources {
		entries[i] = byName[src.Name()]
	}
	return entries, nil
}

func (s *Swapper) names() []journalSource {
	names := make([]journalSource, len(s.sources))
	for i, src := range s.sources {
		names[i] = journalSource{src.Kind(), src.Name()}
	}
	return names
}

// checkSpace checks the free space for staging. If there is too little and an
// earlier stage takes some of it, that is dropped.
func (s *Swapper) checkSpace(ctx context.Context, entries []source.Entry, earlier journal) error {
	err := s.fits(entries)
	if !errors.Is(err, ErrNoSpace) || earlier.State == Idle {
		return err
	}
	if err := s.rollback(ctx, earlier); err != nil {
		return err
	}
	return s.fits(entries)
}

// fits adds up what staging needs on each file system.
func (s *Swapper) fits(entries []source.Entry) error {
	type claim struct {
		need    int64
		free    int64
		folders []string
	}
	claims := make(map[uint64]*claim)
	var devices []uint64
	for i, e := range entries {
		folder, need := s.sources[i].Space(e)
		if need <= 0 {
			continue
		}
		fsys, err := s.statFS(folder)
		if err != nil {
			return fmt.Errorf("%s %s: %w", e.Kind, e.Name, err)
		}
		c := claims[fsys.device]
		if c == nil {
			c = &claim{}
			claims[fsys.device] = c
			devices = append(devices, fsys.device)
		}
		c.need += need
		c.free = fsys.free
		c.folders = append(c.folders, fmt.Sprintf("%s (%s)", folder, e.Name))
	}
	for _, device := range devices {
		if c := claims[device]; c.free < c.need+margin {
			return noSpace(strings.Join(c.folders, ", "), c.need, c.free)
		}
	}
	return nil
}

package restore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/pack"
)

// Scrubbed is how far the scrub of the cache has come. It is kept across
// restarts.
type Scrubbed struct {
	After pack.Digest `json:"after"` // the packs up to this one were read in this round
	Round int64       `json:"round"` // how many rounds have ended
	// Bad are the packs that were found damaged in this round, and could not be
	// mended.
	Bad []pack.Digest `json:"bad,omitempty"`
}

const scrubFile = "scrub.json"

// Size adds up what the cached packs measure, in bytes.
func (c *Cache) Size() (total int64, err error) {
	err = c.packs.each("", func(_ pack.Digest, info fs.FileInfo) (bool, error) {
		total += info.Size()
		return true, nil
	})
	return total, err
}

// Scrub reads cached packs where the last call left off, up to a number of
// bytes, and has what is damaged mended (see Mending). At the end of a round it
// looks whether any pack is missing that a cached backup needs, and whether the
// records of cached backups are sound. It returns what it could not mend, by
// backup: at the end of a round, and whenever it finds something bad.
func (c *Cache) Scrub(ctx context.Context, repo *backup.Repository, budget int64) (s Scrubbed, bad []Unsound, err error) {
	if s, err = c.Scrubbed(); err != nil {
		return s, nil, err
	}
	mending, found := c.Mending(repo), len(s.Bad)
	ended, err := mending.scrubPacks(ctx, &s, budget)
	if err == nil && (ended || len(s.Bad) > found) {
		bad, err = mending.soundness(ctx, s.Bad)
	}
	if err == nil && ended {
		s = Scrubbed{Round: s.Round + 1}
	}
	return s, bad, errors.Join(err, c.saveScrubbed(s))
}

// scrubPacks reads packs, and reports whether it came to the last one.
func (m *Mending) scrubPacks(ctx context.Context, s *Scrubbed, budget int64) (ended bool, err error) {
	after := ""
	if s.After != (pack.Digest{}) {
		after = s.After.Key()
	}
	ended = true
	err = m.cache.packs.each(after, func(d pack.Digest, info fs.FileInfo) (bool, error) {
		if ended = budget > 0; !ended {
			return false, nil
		}
		budget -= max(info.Size(), 1)
		bad, err := m.scrubPack(ctx, d)
		if err != nil {
			return false, err
		}
		if bad && len(s.Bad) < mostBad {
			s.Bad = append(s.Bad, d)
		}
		s.After = d
		return true, nil
	})
	return ended && err == nil, err
}

// mostBad bounds what is remembered of bad packs.
const mostBad = 10_000

// scrubPack reads one pack, and mends it where it is damaged. One that can be had
// nowhere else is dropped where no cached backup needs it.
func (m *Mending) scrubPack(ctx context.Context, d pack.Digest) (bad bool, err error) {
	defer forget(m.cache.packs.at(d))
	damage := m.cache.packs.check(ctx, d)
	if damage == nil || errors.Is(damage, fs.ErrNotExist) || ctx.Err() != nil {
		return false, ctx.Err() // dropped meanwhile, or sound
	}
	if _, err := m.Mend(ctx, d); err == nil || ctx.Err() != nil {
		return false, ctx.Err()
	}
	needed, err := m.cache.needed()
	if _, is := needed[d]; is || err != nil {
		return true, err
	}
	return false, os.Remove(m.cache.packs.at(d))
}

// Unsound is a cached backup that cannot be restored from this cache, nor be
// mended.
type Unsound struct {
	Ref backup.Ref
	Err error
}

// Needed gives the packs that cached backups need, with their sizes.
func (c *Cache) Needed() ([]pack.Info, error) {
	needed, err := c.needed()
	if err != nil {
		return nil, fmt.Errorf("list what cached backups need: %w", err)
	}
	return slices.Collect(maps.Values(needed)), nil
}

func (c *Cache) needed() (map[pack.Digest]pack.Info, error) {
	refs, _, err := c.list()
	if err != nil {
		return nil, err
	}
	needed := make(map[pack.Digest]pack.Info)
	for _, ref := range refs {
		packs, err := c.needs(ref.ID)
		if isBroken(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, p := range packs {
			needed[p.Digest] = p
		}
	}
	return needed, nil
}

// soundness looks at each cached backup: its records, and whether its packs are
// there with their sizes. What is wrong is mended where that can be done.
func (m *Mending) soundness(ctx context.Context, damaged []pack.Digest) ([]Unsound, error) {
	refs, _, err := m.cache.list()
	if err != nil {
		return nil, err
	}
	var bad []Unsound
	for _, ref := range refs {
		err := m.cache.Sound(ref)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			err = m.cache.Pull(ctx, m.repo, ref, nil)
		}
		if err == nil {
			err = m.mendMissing(ctx, ref, damaged)
		}
		if ctx.Err() != nil {
			return bad, ctx.Err()
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			bad = append(bad, Unsound{Ref: ref, Err: err})
		}
	}
	return bad, nil
}

// mendMissing fetches the packs of a cached backup that are not there whole, and
// those that are known to be damaged.
func (m *Mending) mendMissing(ctx context.Context, ref backup.Ref, damaged []pack.Digest) error {
	packs, err := m.cache.needs(ref.ID)
	if err != nil {
		return err
	}
	for _, p := range packs {
		if m.cache.packs.has(p) && !slices.Contains(damaged, p.Digest) {
			continue
		}
		if _, err := m.Mend(ctx, p.Digest); err != nil {
			return fmt.Errorf("pack %s: %w", p.Digest, errGone{err})
		}
	}
	return nil
}

// errGone hides from what it wraps that something does not exist: a pack that
// is missing, not the backup.
type errGone struct{ error }

// Scrubbed says how far the scrub has come.
func (c *Cache) Scrubbed() (s Scrubbed, err error) {
	err = readJSON(c.path(scrubFile), &s)
	if isBroken(err) {
		return Scrubbed{}, nil // the round begins again
	}
	return s, err
}

func (c *Cache) saveScrubbed(s Scrubbed) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return writeDurably(c.path(scrubFile), text)
}

// forget takes a file that was read once out of the page cache, where the
// application's pages are of more use.
func forget(path string) {
	if f, err := os.Open(path); err == nil {
		_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) // advice
		_ = f.Close()                                           // nothing was written
	}
}

package upkeep

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/blobstore"
)

// A list tells of a pack that is there with its size, and of which version it is. A
// pack of another version than before was written again: by whoever renews or puts it
// back, with the same bytes, or by somebody else. So it is read, and so are a few
// others, in turn, since what rots in a store has the version that it had.

// Bounds of what one look reads.
const (
	changedBytes = 512 << 20 // of packs with another version
	changedPacks = 5000
	turnBytes    = pack.MaxPackSize // of the others
	TurnPacks    = 32
)

// packContents are the packs in the bucket of which the content is taken to be right.
// They belong to the goroutine that looks after the packs.
type packContents struct {
	known map[pack.Digest]blobstore.Token
	after pack.Digest // up to which packs were read in this round
}

// listedPack is a pack that a list has, and its version.
type listedPack struct {
	pack.Info
	version
}

// version tells what was written to a key at one time from what was before and
// after, the same bytes too: some stores have one token for these.
type version struct {
	token   blobstore.Token
	written time.Time
}

func versionOf(at blobstore.Attrs) version { return version{at.Token, at.Time.Truncate(time.Second)} }

// look returns those of the listed packs, which are in order, that are not what their
// names say, as far as it reads them.
func (c *packContents) look(ctx context.Context, repo *backup.Repository, listed []listedPack) (rotten []listedPack, err error) {
	before := c.known
	c.known = make(map[pack.Digest]blobstore.Token, len(listed))
	var changed, same []listedPack
	for _, p := range listed {
		token, known := before[p.Digest]
		if known && token != p.token {
			changed = append(changed, p)
			c.known[p.Digest] = token // until it was read
			continue
		}
		c.known[p.Digest] = p.token
		same = append(same, p)
	}
	at, _ := slices.BinarySearchFunc(same, c.after, func(p listedPack, d pack.Digest) int { return bytes.Compare(p.Digest[:], d[:]) })
	if at < len(same) && same[at].Digest == c.after {
		at++
	}
	turn := slices.Concat(same[at:], same[:at])
	rotten, _, err = c.check(ctx, repo, changed[:min(len(changed), changedPacks)], changedBytes)
	if err != nil {
		return rotten, err
	}
	more, last, err := c.check(ctx, repo, turn[:min(len(turn), TurnPacks)], turnBytes)
	if last != nil {
		c.after = last.Digest
	}
	return append(rotten, more...), err
}

// check reads packs up to a number of bytes, one at least, and returns those that are
// not what their names say, and the last that it has read.
func (c *packContents) check(ctx context.Context, repo *backup.Repository, packs []listedPack, budget int64) (rotten []listedPack, last *listedPack, err error) {
	for i, p := range packs {
		if i > 0 && budget < p.Size {
			break
		}
		budget -= p.Size
		intact, at, err := repo.Current().Intact(ctx, p.Info)
		if err != nil {
			return rotten, last, err
		}
		last, p.version = &packs[i], versionOf(at)
		if !intact {
			rotten = append(rotten, p)
		}
		c.known[p.Digest] = p.token
	}
	return rotten, last, nil
}

// lookInto looks which of the packs are not in the bucket, or are not what their
// names say there.
func (p *Packs) lookInto(ctx context.Context, packs []pack.Info) ([]pack.Info, error) {
	var listed []listedPack
	missing, err := p.host.Repo.Look(ctx, packs, func(p pack.Info, at blobstore.Attrs) {
		p.Size = at.Size
		listed = append(listed, listedPack{p, versionOf(at)})
	})
	if err != nil {
		return nil, err
	}
	rotten, err := p.contents.look(ctx, p.host.Repo, listed)
	p.addRotten(rotten)
	for _, p := range rotten {
		missing = append(missing, p.Info)
	}
	if err != nil {
		return missing, fmt.Errorf("read packs again: %w", err)
	}
	return missing, nil
}

// isThere reports whether a pack that was missing, or rotten, is in the bucket as it
// should be.
func (p *Packs) isThere(ctx context.Context, lost pack.Info) bool {
	attrs, err := p.host.Store.Stat(ctx, lost.Digest.Key())
	if err != nil || attrs.Size != lost.Size && lost.Size != 0 {
		return false
	}
	p.mu.Lock()
	bad, rotten := p.rotten[lost.Digest]
	p.mu.Unlock()
	if !rotten {
		return true
	}
	if bad == versionOf(attrs) {
		return false
	}
	intact, at, err := p.host.Repo.Current().Intact(ctx, lost)
	if err != nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rotten[lost.Digest] = versionOf(at); intact {
		delete(p.rotten, lost.Digest)
	}
	return intact
}

// damagedOf are those of cached packs that the active names as missing, and that the
// bucket has, but not as they should be.
func (p *Packs) damagedOf(ctx context.Context, cached []pack.Info, named []string) (damaged []pack.Info, err error) {
	for _, one := range cached {
		if !slices.Contains(named, one.Digest.String()) { // not many are named
			continue
		}
		intact, _, err := p.host.Repo.Current().Intact(ctx, one)
		if err != nil {
			return damaged, err
		}
		if !intact {
			damaged = append(damaged, one)
		}
	}
	return damaged, nil
}

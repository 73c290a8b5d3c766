package retention

import (
	"encoding/binary"
	"time"

	"github.com/understudy-ha/understudy/backup/pack"
)

const day = 24 * time.Hour

// Defaults of a Policy.
const (
	DefaultKeep  = 14 * day
	DefaultReuse = 7 * day
)

// NoReuse as a reuse window makes every backup write all of its data again.
const NoReuse time.Duration = -1

// Policy is the rule by which objects expire, and by which packs are
// renewed so that nothing expires that is still needed. Ages are in the
// store's time.
//
// A manifest lives for Keep, a pack for Keep and Reuse and a day. A manifest
// refers only to packs younger than Reuse; so every pack outlives every
// manifest that refers to it, with a day to spare for the time that a backup
// takes.
type Policy struct {
	Keep  time.Duration // R: how long a backup is restorable; 0 is DefaultKeep
	Reuse time.Duration // W: how old a pack may be to be referred to; 0 is DefaultReuse, less is NoReuse
}

func (p Policy) defaults() Policy {
	if p.Keep <= 0 {
		p.Keep = DefaultKeep
	}
	switch {
	case p.Reuse == 0:
		p.Reuse = DefaultReuse
	case p.Reuse < 0:
		p.Reuse = 0
	}
	return p
}

// ManifestLife is the age at which a manifest expires.
func (p Policy) ManifestLife() time.Duration { return p.defaults().Keep }

// PackLife is the age at which a pack expires.
func (p Policy) PackLife() time.Duration {
	p = p.defaults()
	return p.Keep + p.Reuse + day
}

// Due reports whether a pack is to be replaced at time now: from half of the
// reuse window on, at an age that its digest chooses, so that renewal is spread
// over the days. The last eighth of the window is left for the backup to take.
func (p Policy) Due(of pack.Info, now time.Time) bool {
	window := p.defaults().Reuse
	spread := float64(binary.LittleEndian.Uint32(of.Digest[:])) / (1 << 32)
	age := window/2 + time.Duration(spread*float64(window/2-window/8))
	return now.Sub(of.Time) >= age
}

// Outlives reports whether a pack surely lives as long as a manifest that was
// stored at this time, with half a day to spare.
func (p Policy) Outlives(of pack.Info, manifest time.Time) bool {
	return of.Time.Add(p.PackLife() - day/2).After(manifest.Add(p.ManifestLife()))
}

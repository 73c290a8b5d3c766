package backup

import (
	"encoding/binary"
	"time"

	"github.com/understudy-ha/understudy/backup/pack"
)

const day = 24 * time.Hour

// Defaults of a Retention.
const (
	DefaultRetention   = 14 * day
	DefaultReuseWindow = 7 * day
)

// NoReuse as a reuse window makes every backup write all of its data again.
const NoReuse time.Duration = -1

// Retention is the rule by which objects expire, and by which packs are
// renewed so that nothing expires that is still needed. Ages are in the
// store's time.
//
// A manifest lives for Keep, a pack for Keep and Reuse and a day. A manifest
// refers only to packs younger than Reuse; so every pack outlives every
// manifest that refers to it, with a day to spare for the time that a backup
// takes.
type Retention struct {
	Keep  time.Duration // R: how long a backup is restorable; 0 is DefaultRetention
	Reuse time.Duration // W: how old a pack may be to be referred to; 0 is DefaultReuseWindow, less is NoReuse
}

func (r Retention) defaults() Retention {
	if r.Keep <= 0 {
		r.Keep = DefaultRetention
	}
	switch {
	case r.Reuse == 0:
		r.Reuse = DefaultReuseWindow
	case r.Reuse < 0:
		r.Reuse = 0
	}
	return r
}

// ManifestLife is the age at which a manifest expires.
func (r Retention) ManifestLife() time.Duration { return r.defaults().Keep }

// PackLife is the age at which a pack expires.
func (r Retention) PackLife() time.Duration {
	r = r.defaults()
	return r.Keep + r.Reuse + day
}

// Due reports whether a pack is to be replaced at time now: from half of the
// reuse window on, at an age that its digest chooses, so that renewal is spread
// over the days. The last eighth of the window is left for the backup to take.
func (r Retention) Due(p pack.Info, now time.Time) bool {
	window := r.defaults().Reuse
	spread := float64(binary.LittleEndian.Uint32(p.Digest[:])) / (1 << 32)
	age := window/2 + time.Duration(spread*float64(window/2-window/8))
	return now.Sub(p.Time) >= age
}

// Outlives reports whether a pack surely lives as long as a manifest that was
// stored at this time, with half a day to spare.
func (r Retention) Outlives(p pack.Info, manifest time.Time) bool {
	return p.Time.Add(r.PackLife() - day/2).After(manifest.Add(r.ManifestLife()))
}

package sim

import (
	"time"

	"github.com/understudy-ha/understudy/backup"
)

// state is an application's data: the writes that it has acknowledged, newest
// first, as a list that shares its tail with older versions. The digest covers
// all of it.
type state struct {
	parent *state
	write  int // serial of the newest write; 0: none
	depth  int
	digest uint64
	bad    bool // it, or what it goes back to, was damaged
	saved  bool // known to be in a backup, or given up by an operator
}

// empty is the state of an application that was never started.
func empty() *state { return &state{digest: 1, saved: true} }

func (s *state) add(write int) *state {
	return &state{parent: s, write: write, depth: s.depth + 1, digest: mix(s.digest, uint64(write)), bad: s.bad}
}

// damaged is s with a bit wrong somewhere.
func (s *state) damaged() *state {
	return &state{parent: s, depth: s.depth, digest: mix(s.digest, ^uint64(0)), bad: true}
}

func (s *state) broken() bool { return s.bad }

// save notes that every write in s is kept somewhere, or given up.
func (s *state) save() {
	for ; s != nil && !s.saved; s = s.parent {
		s.saved = true
	}
}

// mix is a step of a digest (the finalizer of SplitMix64).
func mix(a, b uint64) uint64 {
	x := a*0x9e3779b97f4a7c15 + b + 1
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// stored is a backup in the bucket.
type stored struct {
	state     *state
	ref       backup.Ref
	previous  *backup.Ref
	published bool          // a head has named it
	gone      bool          // the bucket was put back to before it
	goneAt    time.Duration // when
}

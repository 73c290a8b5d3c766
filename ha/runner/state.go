package runner

import (
	"sync"

	"github.com/understudy-ha/understudy/ha"
)

// State is the machine's state as of its last step, which the loop leaves for
// everybody else. It is safe for concurrent use.
type State struct {
	mu      sync.Mutex
	core    ha.Status
	at      ha.Now
	turn    uint64        // how often the role has changed
	changed chan struct{} // closed when something has changed
}

// NewState has no state yet.
func NewState() *State { return &State{changed: make(chan struct{})} }

// View is the machine's state as of its last step.
func (s *State) View() ha.Status {
	core, _ := s.ViewAt()
	return core
}

// ViewAt returns it with the time of that step: durations in it are as of then.
func (s *State) ViewAt() (ha.Status, ha.Now) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.core, s.at
}

// Changed returns a channel that is closed the next time that anything in the status
// may have changed, a few times a second at most while nothing happens.
func (s *State) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// Turn grows whenever this instance's role has changed: sessions of the
// console last for one turn.
func (s *State) Turn() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.turn
}

// set leaves the state after a step, and announces it.
func (s *State) set(core ha.Status, at ha.Now) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if core.Role != s.core.Role {
		s.turn++
	}
	s.core, s.at = core, at
	s.tell()
}

// Announce tells whoever waits for a change.
func (s *State) Announce() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tell()
}

// tell does so; mu is held.
func (s *State) tell() {
	close(s.changed)
	s.changed = make(chan struct{})
}

package agent

import (
	"sync"

	"github.com/understudy-ha/understudy/ha"
)

// state is the machine's state as of its last step, which the loop leaves for
// everybody else. It is safe for concurrent use.
type state struct {
	mu      sync.Mutex
	core    ha.Status
	at      ha.Now
	turn    uint64        // how often the role has changed
	changed chan struct{} // closed when something has changed
}

func newState() *state { return &state{changed: make(chan struct{})} }

// View is the machine's state as of its last step.
func (s *state) View() ha.Status {
	core, _ := s.ViewAt()
	return core
}

// ViewAt returns it with the time of that step: durations in it are as of then.
func (s *state) ViewAt() (ha.Status, ha.Now) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.core, s.at
}

// Changed returns a channel that is closed the next time that anything in the status
// may have changed, a few times a second at most while nothing happens.
func (s *state) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// Turn grows whenever this instance's role has changed: sessions of the
// console last for one turn.
func (s *state) Turn() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.turn
}

// set leaves the state after a step, and announces it.
func (s *state) set(core ha.Status, at ha.Now) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if core.Role != s.core.Role {
		s.turn++
	}
	s.core, s.at = core, at
	s.tell()
}

// announce tells whoever waits for a change.
func (s *state) announce() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tell()
}

// tell does so; mu is held.
func (s *state) tell() {
	close(s.changed)
	s.changed = make(chan struct{})
}

package work

import (
	"cmp"
	"sync"

	"github.com/understudy-ha/understudy/backup"
)

// Progress is how far the work under way is. It is safe for concurrent use.
type Progress struct {
	mu      sync.Mutex
	other   *backup.Progress // of what takes long but pulls
	pulling *backup.Progress
}

// Set says how far a backup, or a restore, is.
func (p *Progress) Set(now backup.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.other = &now
}

// Clear says that it has ended.
func (p *Progress) Clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.other = nil
}

// pull says how far a pull is; nil: it has ended.
func (p *Progress) pull(now *backup.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pulling = now
}

// Shown is what people are shown; nil: nothing takes long.
func (p *Progress) Shown() *backup.Progress {
	p.mu.Lock()
	defer p.mu.Unlock()
	return cmp.Or(p.other, p.pulling)
}

// IsPulling reports whether a backup is being pulled.
func (p *Progress) IsPulling() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pulling != nil
}

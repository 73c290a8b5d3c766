package outlet

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// Beside writes to a file beside whoever prints: a disk that does not answer costs
// what is printed meanwhile, and holds up nobody. It is safe for concurrent use.
type Beside struct {
	patience time.Duration
	parts    chan []byte
	left     atomic.Int64 // parts that are not written yet
	done     chan struct{}

	mu    sync.Mutex
	hangs bool // the disk has not answered in time; nobody waits for it
	ended bool
}

// NewBeside begins to write to what open returns. Who writes waits for the disk no
// longer than patience.
func NewBeside(patience time.Duration, open func() io.Writer) *Beside {
	b := &Beside{patience: patience, parts: make(chan []byte, 64), done: make(chan struct{})}
	go func() {
		defer close(b.done)
		w := open()
		for part := range b.parts {
			_, _ = w.Write(part) // what a disk has no room for is lost
			b.left.Add(-1)
		}
	}()
	return b
}

// Write implements io.Writer. It never fails.
func (b *Beside) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return len(p), nil
	}
	part := bytes.Clone(p)
	b.left.Add(1)
	select {
	case b.parts <- part:
		b.hangs = false
		return len(p), nil
	default:
	}
	if b.hangs || !b.wait(part) {
		b.left.Add(-1)
		b.hangs = true
	}
	return len(p), nil
}

// wait hands a part over once there is room for it. It reports false when there is
// none in time.
func (b *Beside) wait(part []byte) bool {
	timer := time.NewTimer(b.patience)
	defer timer.Stop()
	select {
	case b.parts <- part:
		return true
	case <-timer.C:
		return false
	}
}

// End waits until everything is written, unless the disk does not answer.
func (b *Beside) End() {
	b.mu.Lock()
	if !b.ended {
		close(b.parts)
	}
	b.ended = true
	b.mu.Unlock()
	timer := time.NewTimer(diskPatience)
	defer timer.Stop()
	select {
	case <-b.done:
	case <-timer.C:
	}
}

// diskPatience is how long the disk of what programs print is waited for.
const diskPatience = time.Second

// beside is a Beside of a Log.
func beside(open func() *Log) *Beside {
	return NewBeside(diskPatience, func() io.Writer { return open() })
}

package postgrescluster

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
)

// unreadFor is for how long a server that stops waits for log that nobody reads, for the
// bucket does not answer. By itself it would wait for wal_sender_timeout, a minute.
const unreadFor = 15 * time.Second

// errLetStop is what whoever reads on is told.
var errLetStop = errors.New("the server was let stop before all of its log was in the bucket: the replication slot keeps the rest until it runs again")

// unread lets a server stop that waits for log which came, and which nobody reads.
type unread struct {
	most  time.Duration
	stops func(ctx context.Context) bool // looks whether the server does
	drop  func()                         // the connection
	ctx   context.Context                // of looks
	done  context.CancelFunc

	mu      sync.Mutex
	reading bool
	dropped bool
	timer   *time.Timer // runs while nobody reads
}

// newUnread begins with nobody who reads.
func newUnread(ctx context.Context, most time.Duration, stops func(context.Context) bool, drop func()) *unread {
	u := &unread{most: most, stops: stops, drop: drop}
	u.ctx, u.done = context.WithCancel(context.WithoutCancel(ctx))
	u.mu.Lock()
	defer u.mu.Unlock()
	u.timer = time.AfterFunc(most, u.look)
	return u
}

// reads says that somebody reads on.
func (u *unread) reads() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.reading = true
	u.timer.Stop()
	if u.dropped {
		return errLetStop
	}
	return nil
}

// rests says that nobody does for now.
func (u *unread) rests() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.reading = false
	u.timer.Reset(u.most)
}

// end ends it: nobody reads, and nobody will.
func (u *unread) end() {
	u.done()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.timer.Stop()
}

func (u *unread) look() {
	ctx, cancel := context.WithTimeout(u.ctx, soon)
	defer cancel()
	stops := u.stops(ctx)
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.reading || u.ctx.Err() != nil:
	case stops:
		u.dropped = true
		u.drop()
	default:
		u.timer.Reset(soon)
	}
}

const shuttingDown = "57P03"

// stops tells whether the server says that it is shutting down.
func (p *primary) stops(ctx context.Context) bool {
	return pgclient.IsCode(p.connects(ctx), shuttingDown)
}

// connects looks whether the server takes a connection.
func (p *primary) connects(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	return p.url.With(ctx, func(*pgx.Conn) error { return nil })
}

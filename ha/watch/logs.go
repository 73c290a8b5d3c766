package watch

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/clock"
)

// Logs asks the servers of an active's sources, again and again, for the log that they keep,
// and remembers the last answers. A server that hangs keeps nobody waiting but the next
// look. It is safe for concurrent use.
type Logs struct {
	state   State
	sources func() []source.Source
	newest  func(*ha.Head) []source.Entry
	clock   clock.Clock

	mu    sync.Mutex
	known map[string]LogKept // by source
}

// LogKept is the last answer of one server.
type LogKept struct {
	source.Kept
	At time.Time // of the answer; zero: there was none yet
	// Unsynced is for how long commits are known not to wait that are to: two answers at
	// least say so.
	Unsynced time.Duration
	Error    string        // why there is no newer answer; "": there is none yet to be had
	since    time.Duration // Unsynced, by the monotonic clock; 0: they wait
}

const (
	logsEvery   = 15 * time.Second
	logsTimeout = 10 * time.Second // of one server
)

// NewLogs has not asked yet. newest are the entries of the newest backup, as far as they
// are known.
func NewLogs(s State, sources func() []source.Source, newest func(*ha.Head) []source.Entry, c clock.Clock) *Logs {
	return &Logs{state: s, sources: sources, newest: newest, clock: c, known: make(map[string]LogKept)}
}

// Read returns the last answers, by source.
func (l *Logs) Read(name string) (LogKept, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k, ok := l.known[name]
	return k, ok
}

// Unpacked is how much log of each source is in no backup, of which the last answer is known.
func (l *Logs) Unpacked() map[string]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make(map[string]int64)
	for name, k := range l.known {
		if k.Error == "" {
			all[name] = k.Unpacked
		}
	}
	return all
}

// Turn asks, and returns when to ask again.
func (l *Logs) Turn(ctx context.Context) time.Duration {
	st, known := l.state.View(), make(map[string]LogKept)
	if st.Role == ha.RoleActive && st.Leading && st.Refused == "" {
		entries := l.newest(st.Head)
		for _, src := range l.sources() {
			if of, ok := src.(source.LogKeeper); ok {
				known[src.Name()] = l.ask(ctx, src.Name(), of, entries)
			}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known = known
	return logsEvery
}

// ask asks one server.
func (l *Logs) ask(ctx context.Context, name string, of source.LogKeeper, entries []source.Entry) LogKept {
	var newest *source.Entry
	if i := slices.IndexFunc(entries, func(e source.Entry) bool { return e.Name == name }); i >= 0 {
		newest = &entries[i]
	}
	ctx, cancel := context.WithTimeout(ctx, logsTimeout)
	defer cancel()
	k, err := of.Kept(ctx, newest)
	before, _ := l.Read(name)
	if err != nil {
		before.Error = err.Error()
		return before
	}
	now := l.clock.Now()
	is := LogKept{Kept: k, At: now.Wall}
	if k.Synced && !k.Waits {
		if is.since = before.since; is.since == 0 {
			is.since = now.Mono
		}
		is.Unsynced = now.Mono - is.since
	}
	return is
}

package event

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
)

// Options bounds a Log. The zero value is good, except for its Logger.
type Options struct {
	Logger   *slog.Logger // where every event is logged too; nil: nowhere
	InMemory int          // how many events Recent knows; default 1000
	MaxBytes int64        // of the file, before it is rotated; default 1 MiB. One older file is kept.
}

// Log is an instance's events. It is safe for concurrent use.
type Log struct {
	opt Options

	mu      sync.Mutex
	file    *file
	failing bool // the file cannot be written; said once
	recent  []Event
	lastID  uint64
	subs    map[*subscription]struct{}
	closed  bool
}

// Open opens (and makes) the log at path, a file of JSON lines, and reads its
// newest events. A line that a crash cut short is skipped.
func Open(path string, opt Options) (*Log, error) {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.InMemory <= 0 {
		opt.InMemory = 1000
	}
	if opt.MaxBytes <= 0 {
		opt.MaxBytes = 1 << 20
	}
	f, events, err := openFile(path, opt.MaxBytes)
	if err != nil {
		return nil, fmt.Errorf("open event log %s: %w", path, err)
	}
	l := &Log{opt: opt, file: f, recent: newest(events, opt.InMemory), subs: make(map[*subscription]struct{})}
	for _, e := range events {
		l.lastID = max(l.lastID, e.ID)
	}
	return l, nil
}

// Add gives the event its ID, logs it, writes it to the file and hands it to
// everybody who watches. A file that cannot be written is logged once; events
// go on in memory.
func (l *Log) Add(ctx context.Context, e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.lastID++
	e.ID = l.lastID
	e.Time = e.Time.UTC()
	l.opt.Logger.LogAttrs(ctx, e.Level.slog(), e.Text, e.attrs()...)
	l.recent = newest(append(l.recent, e), l.opt.InMemory)
	err := l.file.add(e)
	if err != nil && !l.failing {
		l.opt.Logger.LogAttrs(ctx, slog.LevelError, "events cannot be written to disk", slog.Any("error", err))
	}
	l.failing = err != nil
	for s := range l.subs {
		s.offer(e)
	}
}

// Recent gives the newest events, oldest first: at most limit (0: all that are
// in memory), and only those after the event with the ID after.
func (l *Log) Recent(after uint64, limit int) []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, _ := slices.BinarySearchFunc(l.recent, after+1, func(e Event, id uint64) int {
		return int(int64(e.ID - id))
	})
	events := l.recent[i:]
	if limit > 0 {
		events = newest(events, limit)
	}
	return slices.Clone(events)
}

// Close ends all subscriptions and closes the file. Events that are added
// later are dropped.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	for s := range l.subs {
		close(s.events)
	}
	clear(l.subs)
	if err := l.file.close(); err != nil {
		return fmt.Errorf("close event log: %w", err)
	}
	return nil
}

// errClosed is what a file that is closed answers.
var errClosed = errors.New("closed")

// newest cuts a list to its last n.
func newest(events []Event, n int) []Event {
	return events[max(0, len(events)-n):]
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

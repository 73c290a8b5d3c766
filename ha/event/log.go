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
	MaxBytes int64        // of the file, before it is rotated; default 1 MiB
	Keep     int          // how many older files are kept; default 4
}

// Log is an instance's events. It is safe for concurrent use.
type Log struct {
	opt Options

	disk *disk

	mu     sync.Mutex
	recent []Event // in memory
	cut    bool    // the files have more events than recent
	lastID uint64
	subs   map[*subscription]struct{}
	closed bool
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
	if opt.Keep <= 0 {
		opt.Keep = 4
	}
	l := &Log{opt: opt, subs: make(map[*subscription]struct{})}
	f, err := openFile(path, opt.MaxBytes, opt.Keep, func(e Event) {
		l.lastID = max(l.lastID, e.ID)
		l.remember(e)
	})
	if err != nil {
		return nil, fmt.Errorf("open event log %s: %w", path, err)
	}
	l.disk = newDisk(f, opt)
	return l, nil
}

// Add gives the event its ID, logs it, writes it to the file and hands it to
// everybody who watches. A file that cannot be written is logged once; events
// go on in memory. It waits a moment for the disk, and not for one that does not
// answer.
func (l *Log) Add(ctx context.Context, e Event) {
	l.disk.wait(l.add(ctx, e))
}

// add returns what is closed once the event is on the disk; nil: it will not be.
func (l *Log) add(ctx context.Context, e Event) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.lastID++
	e.ID = l.lastID
	e.Time, e.Text = e.Time.UTC(), cut(e.Text)
	if e.By == "" {
		e.By = Actor(ctx)
	}
	l.opt.Logger.LogAttrs(ctx, e.Level.slog(), e.Text, e.attrs()...)
	l.remember(e)
	for s := range l.subs {
		s.offer(e)
	}
	return l.disk.add(e)
}

// remember keeps an event in memory. l.mu is held.
func (l *Log) remember(e Event) {
	l.recent = append(l.recent, e)
	if len(l.recent) > l.opt.InMemory {
		l.recent, l.cut = newest(l.recent, l.opt.InMemory), true
	}
}

// Select gives the events that a filter chooses, oldest first, also those that
// only the files still have.
func (l *Log) Select(f Filter) ([]Event, error) {
	c := choice{filter: f}
	l.mu.Lock()
	recent, last := l.recent, l.lastID
	for _, e := range recent {
		c.add(e)
	}
	enough := !l.cut || l.closed || f.Limit > 0 && len(c.events) >= f.Limit ||
		len(recent) > 0 && (recent[0].ID <= f.After+1 || recent[0].Time.Before(f.Since))
	l.mu.Unlock()
	if enough {
		return c.chosen(), nil
	}
	files, err := l.disk.read()
	if errors.Is(err, errSilent) {
		return c.chosen(), nil // what is in memory
	}
	if err != nil {
		return c.chosen(), err
	}
	c = choice{filter: f}
	err = readEvents(files, func(e Event) {
		if e.ID <= last {
			c.add(e)
		}
	})
	return c.chosen(), err
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
	closed := l.closed
	l.closed = true
	for s := range l.subs {
		close(s.events)
	}
	clear(l.subs)
	l.mu.Unlock()
	if closed {
		return nil
	}
	if err := l.disk.close(); err != nil {
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

package event

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"
)

// Reporter is told what happens on an instance; a Teller is one.
type Reporter interface {
	// Note adds an event.
	Note(ctx context.Context, level Level, kind, text string, fields map[string]any)
	// Trouble says what is wrong from now on, and TroubleOver that it is not any more.
	// Both tell it once. Two things that may go wrong at the same time have two keys.
	Trouble(ctx context.Context, kind, key, text string)
	TroubleOver(ctx context.Context, kind, key, text string)
	// Changed says that the status tells something else than before.
	Changed()
}

// Teller tells what happens on an instance. Besides events there are troubles: what is
// wrong until it is over. The instance's status lists them, its record carries them to
// the other instances, and it is not healthy while there is one. They live in memory:
// whoever finds a trouble looks for it again after a restart. It is safe for concurrent
// use.
type Teller struct {
	log      *Log
	instance string
	now      func() time.Time
	changed  func() // there is another trouble, or one less

	mu       sync.Mutex
	troubles map[trouble]string // what is wrong
}

// trouble names one of them. Two things that may go wrong at the same time have
// two keys.
type trouble struct {
	kind string // of its events
	key  string
}

// NewTeller adds its events to the log. changed is called whenever there is another
// trouble, or one less.
func NewTeller(log *Log, instance string, now func() time.Time, changed func()) *Teller {
	return &Teller{log: log, instance: instance, now: now, changed: changed, troubles: make(map[trouble]string)}
}

// Note adds an event.
func (t *Teller) Note(ctx context.Context, level Level, kind, text string, fields map[string]any) {
	t.log.Add(ctx, Event{Time: t.now(), Level: level, Kind: kind, Text: text, Instance: t.instance, Fields: fields})
}

// Trouble notes what is wrong from now on, and raises the alarm when that is
// new. Its text says what to do.
func (t *Teller) Trouble(ctx context.Context, kind, key, text string) {
	if t.set(trouble{kind, key}, text) != text {
		t.Note(ctx, Alarm, kind, text, nil)
		t.changed()
	}
}

// TroubleOver forgets a trouble, and tells so where there was one.
func (t *Teller) TroubleOver(ctx context.Context, kind, key, text string) {
	if t.set(trouble{kind, key}, "") != "" {
		t.Note(ctx, Info, kind, text, nil)
		t.changed()
	}
}

// Changed says that the status tells something else than before.
func (t *Teller) Changed() { t.changed() }

// set notes what is wrong, "" for nothing, and returns what was noted before.
func (t *Teller) set(of trouble, text string) (before string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before = t.troubles[of]
	if text == "" {
		delete(t.troubles, of)
	} else {
		t.troubles[of] = text
	}
	return before
}

// Trouble is what is wrong until it is over.
type Trouble struct{ Kind, Text string }

// Troubles returns what is wrong, in the order of kind and key.
func (t *Teller) Troubles() []Trouble {
	t.mu.Lock()
	defer t.mu.Unlock()
	of := make([]trouble, 0, len(t.troubles))
	for k := range t.troubles {
		of = append(of, k)
	}
	slices.SortFunc(of, func(x, y trouble) int { return strings.Compare(x.kind+"\x00"+x.key, y.kind+"\x00"+y.key) })
	all := make([]Trouble, len(of))
	for i, k := range of {
		all[i] = Trouble{Kind: k.kind, Text: t.troubles[k]}
	}
	return all
}

// TroubleKeys lists the keys of a kind's troubles.
func (t *Teller) TroubleKeys(kind string) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var keys []string
	for k := range t.troubles {
		if k.kind == kind {
			keys = append(keys, k.key)
		}
	}
	return keys
}

// maxTroubles and maxTroubleText bound what a record carries.
const (
	maxTroubles    = 10
	maxTroubleText = 500
)

// ShortTroubles is what this instance's record says of its troubles.
func (t *Teller) ShortTroubles() []string {
	var all []string
	for _, one := range t.Troubles() {
		text := one.Text
		if runes := []rune(text); len(runes) > maxTroubleText {
			text = string(runes[:maxTroubleText]) + "…"
		}
		if all = append(all, text); len(all) == maxTroubles {
			break
		}
	}
	return all
}

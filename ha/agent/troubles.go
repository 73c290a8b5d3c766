package agent

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/understudy-ha/understudy/ha/event"
)

// troubles are what is wrong on this instance until it is over: this instance's
// status lists them, its record carries them to the other instances, and it is
// not healthy while there is one. They live in memory: whoever finds a trouble
// looks for it again after a restart. It is safe for concurrent use.
type troubles struct {
	mu  sync.Mutex
	all map[trouble]string // what is wrong
}

// trouble names one of them. Two things that may go wrong at the same time have
// two keys.
type trouble struct {
	kind string // of its events
	key  string
}

// set notes what is wrong, "" for nothing, and returns what was noted before.
func (t *troubles) set(of trouble, text string) (before string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before = t.all[of]
	if text == "" {
		delete(t.all, of)
		return before
	}
	if t.all == nil {
		t.all = make(map[trouble]string)
	}
	t.all[of] = text
	return before
}

// list returns what is wrong, in the order of kind and key.
func (t *troubles) list() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	of := make([]trouble, 0, len(t.all))
	for k := range t.all {
		of = append(of, k)
	}
	slices.SortFunc(of, func(x, y trouble) int { return strings.Compare(x.kind+"\x00"+x.key, y.kind+"\x00"+y.key) })
	texts := make([]string, len(of))
	for i, k := range of {
		texts[i] = t.all[k]
	}
	return texts
}

// keys lists the keys of a kind's troubles.
func (t *troubles) keys(kind string) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var keys []string
	for k := range t.all {
		if k.kind == kind {
			keys = append(keys, k.key)
		}
	}
	return keys
}

// trouble notes what is wrong from now on, and raises the alarm when that is
// new. Its text says what to do.
func (a *Agent) trouble(ctx context.Context, kind, key, text string) {
	if a.troubles.set(trouble{kind, key}, text) != text {
		a.note(ctx, event.Alarm, kind, text, nil)
		a.troubled()
	}
}

// troubleOver forgets a trouble, and tells so where there was one.
func (a *Agent) troubleOver(ctx context.Context, kind, key, text string) {
	if a.troubles.set(trouble{kind, key}, "") != "" {
		a.note(ctx, event.Info, kind, text, nil)
		a.troubled()
	}
}

// troubled tells whoever follows the status that there is another trouble, or
// one less.
func (a *Agent) troubled() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.announce()
}

// maxTroubles and maxTroubleText bound what a record carries.
const (
	maxTroubles    = 10
	maxTroubleText = 500
)

// recordTroubles is what this instance's record says of its troubles.
func (a *Agent) recordTroubles() []string {
	all := a.troubles.list()
	all = all[:min(len(all), maxTroubles)]
	for i, text := range all {
		if runes := []rune(text); len(runes) > maxTroubleText {
			all[i] = string(runes[:maxTroubleText]) + "…"
		}
	}
	return all
}

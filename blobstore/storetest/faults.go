package storetest

import "sync"

// faults are what goes wrong, in the order of their injection: the first that
// matches a call of type C strikes it, with an action A. It is safe for concurrent
// use.
type faults[C, A any] struct {
	mu    sync.Mutex
	queue []*queued[C, A]
}

type queued[C, A any] struct {
	matches func(C) bool
	after   int // how many matching calls go well first
	times   int // how many go wrong then; Forever
	do      A
}

// add adds a fault; 0 times means one.
func (f *faults[C, A]) add(after, times int, do A, matches func(C) bool) {
	if times == 0 {
		times = 1
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue = append(f.queue, &queued[C, A]{matches: matches, after: after, times: times, do: do})
}

// clear takes all faults away.
func (f *faults[C, A]) clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue = nil
}

// strike returns the action of the fault that strikes a call; the zero value when
// none does.
func (f *faults[C, A]) strike(call C) (do A) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, q := range f.queue {
		if q.times == 0 || !q.matches(call) {
			continue
		}
		if q.after > 0 {
			q.after--
			continue
		}
		if q.times > 0 {
			q.times--
		}
		return q.do
	}
	return do
}

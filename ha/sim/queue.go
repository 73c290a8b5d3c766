package sim

import (
	"container/heap"
	"time"
)

// event is something that happens at a time.
type event struct {
	at  time.Duration
	seq int // orders events of the same time
	do  func()
}

// eventQueue is what is still to happen, the next first.
type eventQueue struct {
	events []event
	seq    int
}

func (q *eventQueue) add(at time.Duration, do func()) {
	q.seq++
	heap.Push(q, event{at: at, seq: q.seq, do: do})
}

func (q *eventQueue) next() event { return heap.Pop(q).(event) }

func (q *eventQueue) Len() int { return len(q.events) }
func (q *eventQueue) Less(i, j int) bool {
	a, b := &q.events[i], &q.events[j]
	return a.at < b.at || a.at == b.at && a.seq < b.seq
}
func (q *eventQueue) Swap(i, j int) { q.events[i], q.events[j] = q.events[j], q.events[i] }
func (q *eventQueue) Push(x any)    { q.events = append(q.events, x.(event)) }
func (q *eventQueue) Pop() any {
	last := len(q.events) - 1
	e := q.events[last]
	q.events[last] = event{}
	q.events = q.events[:last]
	return e
}

package event

// subscription is one watcher's queue.
type subscription struct{ events chan Event }

// offer hands an event over if there is room. A watcher that does not keep up
// misses events, and can see by their IDs that it did.
func (s *subscription) offer(e Event) {
	select {
	case s.events <- e:
	default:
	}
}

// subscriptionBuffer is how far a watcher may fall behind.
const subscriptionBuffer = 256

// Subscribe gives the events after the one with the ID after that are still in
// memory, oldest first, and then all that follow, without a gap in between. A
// watcher that falls far behind misses some. The channel is closed when the
// log is; the caller calls cancel when it no longer watches.
func (l *Log) Subscribe(after uint64) (past []Event, next <-chan Event, cancel func()) {
	s := &subscription{events: make(chan Event, subscriptionBuffer)}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		close(s.events)
		return nil, s.events, func() {}
	}
	for _, e := range l.recent {
		if e.ID > after {
			past = append(past, e)
		}
	}
	l.subs[s] = struct{}{}
	return past, s.events, func() { l.unsubscribe(s) }
}

func (l *Log) unsubscribe(s *subscription) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.subs, s)
}

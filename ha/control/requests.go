package control

import (
	"errors"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
)

// LatencyBounds are the upper bounds of a Latency's counts, in seconds.
var LatencyBounds = [...]float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}

// Operations on control objects, by which requests are counted.
const (
	opRead   = "read"
	opWrite  = "write"
	opList   = "list"
	opDelete = "delete"
)

// Latency tells how long the requests of one kind took.
type Latency struct {
	Counts [len(LatencyBounds)]uint64 // up to each bound, those before included
	Count  uint64
	Sum    float64 // seconds
	Errors int64   // those that failed
}

func (l *Latency) add(took time.Duration, failed bool) {
	for i, bound := range LatencyBounds {
		if took.Seconds() <= bound {
			l.Counts[i]++
		}
	}
	l.Count++
	l.Sum += took.Seconds()
	if failed {
		l.Errors++
	}
}

// latencies count requests by operation.
type latencies map[string]*Latency

func newLatencies() latencies {
	return latencies{opRead: {}, opWrite: {}, opList: {}, opDelete: {}}
}

// read copies what was counted.
func (l latencies) read() map[string]Latency {
	all := make(map[string]Latency, len(l))
	for op, one := range l {
		all[op] = *one
	}
	return all
}

// total sums up all operations.
func (l latencies) total() (requests, errors int64) {
	for _, one := range l {
		requests += int64(one.Count)
		errors += one.Errors
	}
	return requests, errors
}

// Requests is what this process has asked of the bucket, for control objects.
type Requests struct {
	Count, Errors int64
	Last          time.Duration // that the last one took
	ByOperation   map[string]Latency
}

// Requests counts them.
func (s *Store) Requests() Requests {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := Requests{Last: s.took, ByOperation: s.latency.read()}
	r.Count, r.Errors = s.latency.total()
	return r
}

// observe counts a request.
func (s *Store) observe(operation string, start time.Duration, err error) {
	failed := err != nil
	for _, expected := range []error{blobstore.ErrNotFound, blobstore.ErrNotModified, blobstore.ErrPrecondition} {
		failed = failed && !errors.Is(err, expected)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.took = s.clock.Now().Mono - start
	s.latency[operation].add(s.took, failed)
}

package agent

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/report"
	"github.com/understudy-ha/understudy/ha/runner"
)

// registry takes a record, or not.
type registry struct {
	mu      sync.Mutex
	rec     ha.Instance // as it is to be written
	refused []error     // of the next admissions and writes
	written []time.Time
	news    int
	noted   int
	joined  bool
}

func (r *registry) next() error {
	if len(r.refused) == 0 {
		return nil
	}
	err := r.refused[0]
	r.refused = r.refused[1:]
	return err
}

func (r *registry) change(do func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	do()
}

func (r *registry) Muted() bool { return false }

func (r *registry) Admit(context.Context, ha.Role) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.next()
}

func (r *registry) PutRecord(context.Context, ha.Instance) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.next()
	if err == nil {
		r.written = append(r.written, time.Now())
	}
	return err
}

func (r *registry) Note(context.Context, event.Level, string, string, map[string]any) {
	r.change(func() { r.noted++ })
}
func (r *registry) Trouble(context.Context, string, string, string)     {}
func (r *registry) TroubleOver(context.Context, string, string, string) {}
func (r *registry) Changed()                                            {}

// A record is written once a minute, and soon after it changes, but not more often than
// every two seconds; the active is woken only by what matters to it. A bucket that does
// not answer is told once.
func TestARecordIsWrittenWhenItChangesAndEveryMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := &blobstore.Error{Kind: blobstore.ErrUnavailable}
		r := &registry{refused: []error{away, nil, away, away}, rec: ha.Instance{State: report.StateInSync}}
		state := runner.NewState()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		keeper := recorder{
			admission: r, state: state, clock: bubbleClock{}, poll: time.Second, log: r,
			record:     func() ha.Instance { r.mu.Lock(); defer r.mu.Unlock(); return r.rec },
			registered: func() { r.change(func() { r.joined = true }) }, news: func(context.Context) { r.change(func() { r.news++ }) },
		}
		go func() { done <- keeper.run(ctx) }()
		begun := time.Now()
		<-time.After(30 * time.Second)
		for _, change := range []func(){
			func() { r.rec.Rehearsals = []ha.Rehearsal{{Backup: "b"}} }, // not the active's business
			func() { r.rec.Ready = true },
			func() { r.rec.State = report.StateBehind }, // the head says it
		} {
			r.change(change)
			state.Announce()
			synctest.Wait()
		}
		<-time.After(time.Minute)
		state.Announce()
		synctest.Wait()
		var after []time.Duration
		r.change(func() {
			for _, at := range r.written {
				after = append(after, at.Sub(begun).Round(time.Second))
			}
			if r.news != 2 || r.noted != 1 || !r.joined {
				t.Errorf("%d news, noted %d times, joined %v", r.news, r.noted, r.joined)
			}
		})
		// Admitted after a second, written after two tries; changed, once more two seconds later.
		if want := []time.Duration{5 * time.Second, 30 * time.Second, 32 * time.Second}; !slices.Equal(after[:min(3, len(after))], want) {
			t.Errorf("written after %v, want %v first", after, want)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

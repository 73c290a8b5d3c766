package agent

import (
	"context"
	"errors"
	"testing"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
)

// admitted is an admission that was given, or not.
type admitted struct{ err error }

func (a admitted) Await(context.Context) error { return a.err }

// A write that may have landed is never said to have failed, nor one that has lost; and
// nothing is asked of a bucket that may not be used.
func TestWhatBecameOfAWriteIsSaidAsItIs(t *testing.T) {
	store := storetest.NewFaulty(storetest.NewMemory())
	c := control.New(control.Config{Store: store, Ring: newRing(t), Clock: bubbleClock{}}, "c")
	looked := 0
	b := &bucket{admitted{}, c, store, func(context.Context, error) { looked++ }}
	lease := ha.Write{Kind: ha.KindLease, Key: ha.LeaseKey, Object: &ha.Lease{Format: ha.Format, Cluster: "c"}, Cond: blobstore.IfAbsent()}
	if d := b.write(t.Context(), lease); d.Outcome != ha.OK || d.Err != nil || d.Token == "" {
		t.Fatalf("%+v", d)
	}
	if d := b.write(t.Context(), lease); d.Outcome != ha.Lost {
		t.Errorf("another one is there: %+v", d)
	}
	for fault, want := range map[error]ha.Outcome{blobstore.ErrUnknownOutcome: ha.Unknown, blobstore.ErrDenied: ha.Failed} {
		store.Inject(storetest.Fault{Op: storetest.Put, Key: ha.LeaseKey, Times: 1, Do: storetest.Fail(fault)})
		if d := b.write(t.Context(), lease); d.Outcome != want || d.Err == nil {
			t.Errorf("%v: %+v, want %v", fault, d, want)
		}
	}
	if d := b.read(t.Context(), ha.Read{Kind: ha.KindLease, Key: ha.LeaseKey}); d.Outcome != ha.OK || d.Object == nil || looked != 1 {
		t.Errorf("%+v, looked %d times", d, looked)
	}
	b.admission = admitted{errors.New("this is another cluster")}
	store.Inject(storetest.Fault{Op: storetest.Get, Key: "**", Times: storetest.Forever, Do: func(context.Context, storetest.Call, func(context.Context) error) error {
		t.Error("it was asked")
		return blobstore.ErrDenied
	}})
	for name, d := range map[string]ha.Done{
		"read": b.read(t.Context(), ha.Read{Kind: ha.KindLease, Key: ha.LeaseKey}), "write": b.write(t.Context(), lease), "find": b.find(t.Context(), backup.Ref{Key: "x"}),
	} {
		if d.Outcome != ha.Unknown || d.Err == nil {
			t.Errorf("%s without admission: %+v", name, d)
		}
	}
}

package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
)

// TestNothingIsLostInAnyRole takes the bucket, or the processor, from each of
// those who have a part in a promotion.
func TestNothingIsLostInAnyRole(t *testing.T) {
	t.Parallel()
	o := newOrdeal(t, nil)
	o.setUp()
	o.commitUnanswered()
	o.bucketAway()
	o.candidateCutOff()
	o.activeStopped()
}

// headWrite matches the writes of the head: a standby's only one is the commit
// of its promotion.
func headWrite(r *http.Request) bool {
	return r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/head.json")
}

// commitUnanswered loses the answer to the write that decides a promotion.
func (o *ordeal) commitUnanswered() {
	o.begin("the answer to a promotion's commit is lost")
	o.proxies[o.standby].Inject(storetest.NetFault{When: headWrite, Do: storetest.DropAnswer()})
	p := query[promotions.PromotionStatus](o.standby, "promote", "--yes")
	if p.State != promotions.PromotionDone || p.Epoch != o.epoch+1 {
		o.t.Fatalf("promotion: %+v", p)
	}
	o.says(o.standby, "level=ERROR", "the bucket cannot be used", "head.json")
	o.turned()
	o.sound()
}

// bucketAway takes the bucket from both for longer than the TTL, with strict
// fencing, which stops the application in time.
func (o *ordeal) bucketAway() {
	o.active.run("config", "set", "fencing", "strict")
	o.begin("the bucket is away for longer than the TTL")
	cut := time.Now()
	o.both(func(h *host) { o.wires[h].Cut() })
	o.active.eventually("stops the application", func() error {
		if o.active.app.running(o.t) {
			return errors.New("it runs")
		}
		return nil
	})
	last, err := os.Stat(o.apps[o.active].ledger)
	if err != nil {
		o.t.Fatal(err)
	}
	if after, bound := last.ModTime().Sub(cut), ordealTTL-ordealMargin; after > bound {
		o.t.Errorf("the last commit was %v after the cut, want %v at most", after, bound)
	}
	o.both(func(h *host) { o.without(h, ordealTTL+ordealMargin) })
	if r := o.standby.try("promote", "--failover", "--yes"); r.code == 0 {
		o.t.Errorf("promoted without a bucket:\n%s", r.out)
	}
	o.both(func(h *host) {
		o.wires[h].Mend(o.t)
		o.says(h, "level=ERROR", "the bucket cannot be used")
	})
	o.sound()
	o.active.run("config", "set", "fencing", "available")
}

// without waits until a host has been without the bucket for so long.
func (o *ordeal) without(h *host, long time.Duration) {
	o.t.Helper()
	h.eventually(fmt.Sprintf("is without the bucket for %v", long), func() error {
		if s := h.status(); s.BucketFailing < long.Seconds() {
			return fmt.Errorf("%.0f s", s.BucketFailing)
		}
		return nil
	})
}

// candidateCutOff takes the bucket from the candidate when it sends its
// commit. The active takes itself back, and the promotion is undone.
func (o *ordeal) candidateCutOff() {
	o.begin("a candidate is cut off at its commit")
	wire := o.wires[o.standby]
	o.proxies[o.standby].Inject(storetest.NetFault{When: headWrite, Do: func(http.ResponseWriter, *http.Request, http.Handler) {
		wire.Cut()
		panic(http.ErrAbortHandler)
	}})
	promoted := o.standby.background("promote", "--yes")
	o.without(o.standby, ordealTTL)
	o.active.eventually("takes itself back", func() error {
		if s := o.active.status(); s.Handover != nil || !s.Leading || s.App != "running" {
			return fmt.Errorf("handover %v, leading %v, application %q", s.Handover, s.Leading, s.App)
		}
		return nil
	})
	if o.standby.app.running(o.t) {
		o.t.Error("the candidate's application runs")
	}
	wire.Mend(o.t)
	if r := o.await(promoted); r.code == 0 || !strings.Contains(r.errout, "as before") {
		o.t.Errorf("the promotion: exit %d\n%s%s", r.code, r.out, r.errout)
	}
	o.says(o.standby, "level=ERROR", "the bucket cannot be used")
	o.says(o.standby, "level=WARN", "rolled back, everything is as before")
	o.says(o.active, "level=WARN", "did not take over: taking back")
	o.sound()
}

// activeStopped stops the active's agent for longer than the TTL, and not its
// application. What that wrote after the failover is in the salvage backup.
func (o *ordeal) activeStopped() {
	o.begin("the active is stopped for longer than the TTL")
	old, successor := o.active, o.standby
	process := old.agent.Process
	send := func(signal syscall.Signal) {
		if err := process.Signal(signal); err != nil {
			o.t.Fatal(err)
		}
	}
	o.t.Cleanup(func() { _ = process.Signal(syscall.SIGCONT) }) // or it could not be ended
	send(syscall.SIGSTOP)
	successor.eventually("sees that the active is silent", func() error {
		if s := successor.status(); s.HeadAlive {
			return fmt.Errorf("it was seen %.0f s ago", s.HeadAge)
		}
		return nil
	})
	successor.fails(3, "--failover", "promote", "--yes")
	p := query[promotions.PromotionStatus](successor, "promote", "--failover", "--yes")
	if p.State != promotions.PromotionDone {
		o.t.Fatalf("promotion: %+v", p)
	}
	o.turned()
	o.moreWrites(20)
	starts := old.app.starts(o.t)
	send(syscall.SIGCONT)
	old.is(report.StateInSync)
	o.says(old, "level=ERROR", "became the active in epoch "+fmt.Sprint(o.epoch)+": stepping down")
	o.says(old, "level=WARN", "salvage backup", "holds what never reached the new active")
	if old.app.running(o.t) || old.app.starts(o.t) != starts {
		o.t.Error("the application on the old active runs, or was started again")
	}
	lost := o.missing(o.ledger.acknowledged(o.t), successor.app.rows(o.t))
	salvaged := o.restored(successor, o.salvage(successor))
	if still := missing(lost, salvaged); len(lost) == 0 || len(still) > 0 {
		o.t.Fatalf("the failover lost %d commits, of which the salvage backup lacks %d", len(lost), len(still))
	}
	for _, e := range lost {
		o.gone[e] = true
	}
	o.sound()
}

package e2e

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// TestAnActiveThatStartsIntoABlackHoleIsFencedAtOnce starts the agent of an active
// again when its time is over, and nothing that it sends to the bucket is ever
// answered: it answers, says what it does, and stops the application that has
// outlived the agent before it.
func TestAnActiveThatStartsIntoABlackHoleIsFencedAtOnce(t *testing.T) {
	t.Parallel()
	o := newOrdeal(t, nil)
	o.setUp()
	a := o.active
	a.run("config", "set", "fencing", "strict")
	a.is("active")
	o.begin("the active's agent is killed, and started again with a bucket that never answers")
	a.killAgent()
	killed := time.Now()
	o.wires[a].Disturb(t, bothWays("timeout", map[string]any{"timeout": 0})...)
	a.eventually("its time is over", func() error {
		if left := ordealTTL - ordealMargin - time.Since(killed); left > 0 {
			return fmt.Errorf("in %v", left)
		}
		return nil
	})
	if !o.apps[a].running(t) {
		t.Fatal("the application has not outlived its agent: this test shows nothing")
	}
	a.bin = understudyBin() // the program as it is shipped
	a.launch()
	started := time.Now()
	within(t, ordealStop, "the socket answers, and the log says that the agent runs", func() error {
		if r := a.try("status", "--json"); r.code != 0 {
			return errors.New(r.errout)
		}
		if len(o.lines(a, "agent started")) == 0 {
			return errors.New("no line in the log")
		}
		return nil
	})
	t.Logf("the socket answered after %v", time.Since(started).Round(time.Millisecond))
	within(t, ordealStop, "the application is stopped", func() error {
		if o.apps[a].running(t) {
			return errors.New("it runs")
		}
		return nil
	})
	t.Logf("the application had stopped after %v", time.Since(started).Round(time.Millisecond))
	o.says(a, "level=ERROR", "the bucket cannot be used")
	o.healed()
	if !o.apps[a].running(t) {
		t.Error("the application does not run though the bucket is back")
	}
}

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/ha/agent"
	"github.com/understudy-ha/understudy/ha/report"
	"github.com/understudy-ha/understudy/restore"
)

// membership is the part that a test reads of what `join` and `leave` print.
type membership struct {
	Settled *agent.Settlement `json:"settled"`
}

// wayIn is how an operator brings a host back into its cluster whose agent died
// in the midst of a swap, and shall not go on as it is.
type wayIn struct {
	name  string
	bring func(tr *trial, h *host) (said []membership, refused string)
}

var waysIn = []wayIn{
	{"replace", func(_ *trial, h *host) ([]membership, string) { return does(h, "join --replace") }},
	{"leave", func(_ *trial, h *host) ([]membership, string) { return does(h, "leave", "join") }},
	{"wipe", func(tr *trial, h *host) ([]membership, string) {
		if err := os.RemoveAll(h.path("data")); err != nil {
			tr.t.Fatal(err)
		}
		return does(h, "join --replace")
	}},
}

// does runs commands up to one that is refused.
func does(h *host, commands ...string) (said []membership, refused string) {
	h.t.Helper()
	for _, command := range commands {
		r := h.try(append(strings.Fields(command), "--json")...)
		if r.code == 3 {
			return said, r.errout
		}
		var m membership
		if err := json.Unmarshal([]byte(r.out), &m); r.code != 0 || err != nil {
			h.t.Fatalf("%s: understudy %s: exit %d: %v\n%s%s", h.name, command, r.code, err, r.out, r.errout)
		}
		said = append(said, m)
	}
	return said, ""
}

// interrupted are the points that part a swap from its end, and how it ends then.
var interrupted = []struct {
	point string
	die   func(tr *trial, point string)
	known restore.Resolution // with the data folder
	blind restore.Resolution // without it
}{
	{"source.stage.after", (*trial).dieAsCandidate, restore.Settled, restore.Settled},
	{"swapper.swapping.after", (*trial).dieAsCandidate, restore.Back, restore.Settled},
	{"source.swap.after", (*trial).dieAsCandidate, restore.Back, restore.Back},
	{"source.swap.after:2", (*trial).dieAsCandidate, restore.Back, restore.Back},
	{"source.swap.after:3", (*trial).dieAsCandidate, restore.Back, restore.Kept},
	{"swapper.swapped.after", (*trial).dieAsCandidate, restore.Back, restore.Kept},
	{"journal.promotion.commit.after", (*trial).dieAsCandidate, restore.Back, restore.Kept},
	{"swapper.restoring.after", (*trial).dieRollingBack, restore.Back, restore.Kept},
	{"source.swap-back.after", (*trial).dieRollingBack, restore.Back, restore.Kept},
	{"source.swap-back.after:2", (*trial).dieRollingBack, restore.Back, restore.Kept},
}

func (tr *trial) dieAsCandidate(point string) {
	tr.arm(tr.other, point)
	wait := tr.background(tr.other, "promote", "--yes")
	tr.died(tr.other)
	wait()
}

func (tr *trial) dieRollingBack(point string) {
	tr.dieAsCandidate("swap.after")
	tr.arm(tr.other, point)
	tr.launch(tr.other)
	tr.died(tr.other)
}

// TestJoiningEndsWhatACrashInterrupted kills a candidate between the steps of a
// swap. Whichever way the operator takes to bring it back in, the swap ends, what
// the host had before is in place or kept, and the cluster is in order again.
func TestJoiningEndsWhatACrashInterrupted(t *testing.T) {
	t.Parallel()
	for _, way := range waysIn {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			tr := newTrial(t, crashBin())
			for _, at := range interrupted {
				t.Logf("%s", at.point)
				b := tr.other
				mark := tr.mark(b)
				at.die(tr, at.point)
				want := at.known
				if strings.HasPrefix(way.name, "wipe") {
					want = at.blind
				}
				said, refused := way.bring(tr, b)
				tr.launch(b)
				if refused != "" {
					t.Fatalf("%s: refused: %s", at.point, refused)
				}
				tr.judge(b, at.point, want, said, mark)
				tr.settle()
				tr.check()
				tr.takeOver()
			}
		})
	}
}

// takeOver makes the standby the active, as soon as the lease of the promotion that
// died is stale.
func (tr *trial) takeOver() {
	tr.t.Helper()
	tr.other.eventually("takes over", func() error {
		if r := tr.other.try("promote", "--yes"); r.code != 0 {
			return errors.New(r.errout)
		}
		return nil
	})
	tr.settle()
}

// TestOneThatWasPromotedDoesNotLeave kills a host that has become the active before
// it has finished: it is told what to do instead, and doing so ends well.
func TestOneThatWasPromotedDoesNotLeave(t *testing.T) {
	t.Parallel()
	tr := newTrial(t, crashBin())
	for _, at := range []struct{ point, why string }{
		{"head.commit.before", "start the agent"},
		{"head.commit.after", "start the agent"},
		{"journal.promotion.finish.after", "is the active"},
		{"source.discard.after:2", "is the active"},
	} {
		b := tr.other
		tr.dieAsCandidate(at.point)
		if _, refused := does(b, "leave"); !strings.Contains(refused, at.why) {
			t.Errorf("%s: leave: %s", at.point, refused)
		}
		tr.launch(b)
		tr.settle()
		tr.check()
		if tr.active != b {
			tr.takeOver()
		}
	}
}

// TestOneThatWasPromotedJoinsAfresh kills a host that has become the active before it
// has finished, and has it join afresh, with its data folder or without. The head
// names it, and nobody leads, until another is promoted. Nothing is lost.
func TestOneThatWasPromotedJoinsAfresh(t *testing.T) {
	t.Parallel()
	for _, way := range waysIn {
		if way.name == "leave" {
			continue // TestOneThatWasPromotedDoesNotLeave
		}
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			tr := newTrial(t, crashBin())
			for _, point := range []string{"head.commit.after", "journal.promotion.finish.after", "source.discard.after:2"} {
				t.Logf("%s", point)
				a, b := tr.active, tr.other
				tr.dieAsCandidate(point)
				said, refused := way.bring(tr, b)
				if refused != "" {
					t.Fatalf("%s: refused: %s", point, refused)
				}
				tr.launch(b)
				if done := said[0].Settled; done != nil && len(done.Kept) > 0 {
					tr.until(b, "names what is kept", func(s report.Status) bool {
						return strings.Contains(strings.Join(s.Caveats, "\n"), "is kept in "+done.Kept[0])
					})
					tr.deleteKept(done.Kept)
				}
				tr.insist(a)
				tr.settle()
				tr.check()
			}
		})
	}
}

// mark leaves something in a standby's folders that no backup has.
func (tr *trial) mark(h *host) string {
	tr.t.Helper()
	tr.tries++
	text := fmt.Sprint("what this host had, ", tr.tries)
	if err := os.WriteFile(filepath.Join(h.app.(held).dir, "static", "mark"), []byte(text), 0o600); err != nil {
		tr.t.Fatal(err)
	}
	return text
}

// judge looks how a swap was ended, and where lies what the host had before. What
// was kept for the operator is deleted, as the message says.
func (tr *trial) judge(h *host, point string, want restore.Resolution, said []membership, mark string) {
	tr.t.Helper()
	var done agent.Settlement
	if said[0].Settled != nil {
		done = *said[0].Settled
	}
	if done.Resolution != want {
		tr.t.Errorf("%s: ended %q, want %q", point, done.Resolution, want)
	}
	static := filepath.Join(h.app.(held).dir, "static")
	if want == restore.Settled || want == restore.Back {
		tr.holds(filepath.Join(static, "mark"), mark)
		return
	}
	found := false
	for _, path := range done.Kept {
		if strings.HasPrefix(filepath.Base(path), ".static.") {
			tr.holds(filepath.Join(path, "mark"), mark)
			found = true
		}
	}
	tr.deleteKept(done.Kept)
	if text, err := os.ReadFile(filepath.Join(static, "mark")); err == nil && string(text) == mark {
		found = true // that source was back already
	}
	if !found {
		tr.t.Errorf("%s: what the host had before is nowhere: %+v", point, done)
	}
}

// deleteKept deletes what was kept for the operator.
func (tr *trial) deleteKept(kept []string) {
	tr.t.Helper()
	for _, path := range kept {
		sides, err := filepath.Glob(path + "*")
		if err != nil {
			tr.t.Fatal(err)
		}
		for _, side := range sides {
			if err := os.RemoveAll(side); err != nil {
				tr.t.Fatal(err)
			}
		}
	}
}

func (tr *trial) holds(path, want string) {
	tr.t.Helper()
	if text, err := os.ReadFile(path); err != nil || string(text) != want {
		tr.t.Errorf("%s holds %q, want %q: %v", path, text, want, err)
	}
}

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/report"
)

// Data folders are copied and put back while an application writes. The operator
// runs what messages name. Every commit that was ever acknowledged is on the active
// afterwards, or in a salvage backup that is listed and can be restored.

// copyStories are what becomes of a copy. What is done with it is done with one that
// shows that it is a copy, as one of files does, and with one that does not, as one
// below the file system (a snapshot of a volume).
var copyStories = []struct {
	name string
	tell func(tr *trial, shows bool)
}{
	{"two epochs back", (*trial).twoEpochsBack},
	{"a standby's copy", (*trial).copyOfAStandby},
	{"an active's copy", (*trial).copyOfTheActive},
	{"standby days", (*trial).standbyDays},
	{"an active, promoted", func(tr *trial, shows bool) {
		tr.activePutBack(shows, func(a *host, message string) { a.obeys(message, "promote --failover") })
	}},
	{"an active, joined afresh", func(tr *trial, shows bool) {
		tr.activePutBack(shows, func(a *host, message string) {
			a.stopAgent()
			a.obeys(message, "join --replace")
			tr.launch(a)
			tr.insist(tr.other)
		})
	}},
	{"an active, accepted", func(tr *trial, shows bool) {
		tr.activePutBack(shows, func(a *host, message string) {
			if shows { // else nobody doubts it
				a.stopAgent()
				a.obeys(message, "accept-host")
				tr.launch(a)
				message = tr.refused(a) // the head is not what it has written
			}
			a.obeys(message, "promote --failover")
		})
	}},
}

func TestCopiesHideNothing(t *testing.T) {
	t.Parallel()
	for _, story := range copyStories {
		for how, shows := range map[string]bool{"shows": true, "hidden": false} {
			t.Run(story.name+"/"+how, func(t *testing.T) {
				t.Parallel()
				tr := newTrial(t, crashBin())
				story.tell(tr, shows)
				tr.audit()
			})
		}
	}
}

// copied is a copy of a host's data folder, as it is now.
func (tr *trial) copied(h *host) string {
	tr.t.Helper()
	tr.tries++
	to := h.path(fmt.Sprint("copy-", tr.tries))
	tr.copies(h.path("data"), to)
	return to
}

// copies copies a folder between two writes of its agent.
func (tr *trial) copies(from, to string) {
	tr.t.Helper()
	eventually(tr.t, "copy "+from, func() error {
		if err := os.RemoveAll(to); err != nil {
			return err
		}
		if out, err := output("cp", "-a", from, to); err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		return nil
	})
}

// putBack replaces a host's data folder by a copy.
func (tr *trial) putBack(h *host, from string, shows bool) {
	tr.t.Helper()
	data := h.path("data")
	if err := errors.Join(os.RemoveAll(data), os.Rename(from, data)); err != nil {
		tr.t.Fatal(err)
	}
	if !shows {
		tr.unstamp(data)
	}
}

// unstamp has a journal not know of which file it is, as if it were still that one.
func (tr *trial) unstamp(data string) {
	tr.t.Helper()
	path, journal := filepath.Join(data, "journal.json"), map[string]any{}
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &journal)
	}
	if _, found := journal["stamp"]; err != nil || !found {
		tr.t.Fatalf("%s has no stamp: %v", path, err)
	}
	delete(journal, "stamp")
	if text, err = json.Marshal(journal); err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		tr.t.Fatal(err)
	}
}

// clone is another host with a copy of everything that one has: its name, its data
// folder, and its application's state.
func (tr *trial) clone(of *host, shows bool) *host {
	tr.t.Helper()
	clone := tr.host()
	clone.env = append(clone.env, "UNDERSTUDY_INSTANCE="+of.name)
	if err := os.Rename(tr.copied(of), clone.path("data")); err != nil {
		tr.t.Fatal(err)
	}
	if !shows {
		tr.unstamp(clone.path("data"))
	}
	app := of.app.(held)
	if app.running(tr.t) {
		app.do(tr.t, "quiesce")
		defer app.do(tr.t, "resume")
	}
	to := clone.app.(held).dir
	tr.copies(app.dir, to)
	for _, file := range []string{"swap/swap.json", "volumes.json"} {
		tr.relocates(filepath.Join(clone.path("data"), file), app.dir, to)
	}
	return clone
}

// relocates has a file of a copied data folder name the copy's own paths. A copy on
// another machine has the paths of its original, and all that it does there is done to
// its own disk.
func (tr *trial) relocates(path, from, to string) {
	tr.t.Helper()
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		err = os.WriteFile(path, bytes.ReplaceAll(text, []byte(from), []byte(to)), 0o600)
	}
	if err != nil {
		tr.t.Fatal(err)
	}
}

// registered waits until another host sees whether a host's process has written the
// record under its name.
func (tr *trial) registered(by, h *host, want bool) {
	tr.t.Helper()
	s, err := tr.look(h)
	if err != nil {
		tr.t.Fatal(err)
	}
	tr.until(by, "sees who has the name", func(seen report.Status) bool {
		return slices.ContainsFunc(seen.Instances, func(i report.InstanceStatus) bool {
			return i.Name == s.Instance && (i.Incarnation == s.Incarnation) == want
		})
	})
}

// more waits for some more commits, by whatever application.
func (tr *trial) more() {
	tr.t.Helper()
	(&story{t: tr.t, ledger: tr.ledger}).moreWrites(5)
}

// commandNamed is a command in a message.
var commandNamed = regexp.MustCompile(`understudy [a-z-]+(?: --[a-z-]+)*`)

// names lists the commands that a message names.
func names(message string) []string { return commandNamed.FindAllString(message, -1) }

// obeys runs a command that a message names, as it stands there.
func (h *host) obeys(message, command string) {
	h.t.Helper()
	if !slices.Contains(names(message), "understudy "+command) {
		h.t.Fatalf("%s: understudy %s is not among what is said to be done: %s", h.name, command, message)
	}
	args := strings.Fields(command)
	if args[0] == "promote" {
		args = append(args, "--yes")
	}
	h.run(args...)
}

// refused waits until a host is refused, its application stopped and its state kept,
// and returns what is said about it.
func (tr *trial) refused(h *host) (message string) {
	tr.t.Helper()
	tr.until(h, "is refused, and its state is kept", func(s report.Status) bool {
		message = strings.Join(s.Problems, "\n")
		return s.Refused != "" && s.App == "stopped" && s.Demotion != nil && s.Demotion.Told
	})
	if h.app.running(tr.t) {
		tr.t.Fatalf("%s: the application of a refused agent runs", h.name)
	}
	return message
}

// insist makes a standby the active once the active is silent, as the refusal of a
// switchover says.
func (tr *trial) insist(h *host) {
	tr.t.Helper()
	tr.until(h, "the active is silent", func(s report.Status) bool {
		return s.Head != nil && s.HeadAge >= time.Duration(s.Head.Fencing.TTL+s.Head.Fencing.Margin).Seconds() && s.Demotion == nil
	})
	r := h.try("promote", "--yes")
	if r.code != 3 {
		tr.t.Fatalf("%s: a switchover from a silent active: exit %d: %s", h.name, r.code, r.errout)
	}
	h.obeys(r.errout, "promote --failover")
}

// audit waits for order, and looks for every commit.
func (tr *trial) audit() {
	tr.t.Helper()
	tr.settle()
	tr.more()
	tr.check()
}

// activePutBack puts an active back to some seconds ago while its application writes
// on, and follows what it says then.
func (tr *trial) activePutBack(shows bool, help func(a *host, message string)) {
	a := tr.active
	old := tr.copied(a)
	tr.more()
	a.run("backup")
	a.killAgent()
	tr.more()
	tr.putBack(a, old, shows)
	tr.launch(a)
	help(a, tr.refused(a))
}

// copyOfTheActive has a copy of the active run beside it, where it is refused. Both
// step down at a failover, and both keep what they have. The copy does not say that
// the original's application has stopped.
func (tr *trial) copyOfTheActive(shows bool) {
	a, b := tr.active, tr.other
	clone := tr.clone(a, shows)
	tr.more()
	clone.launch()
	tr.refused(clone)
	a.killAgent()
	tr.insist(b)
	tr.until(clone, "sees the new epoch", func(s report.Status) bool {
		return s.Head != nil && s.Head.Active.Name == b.name && s.Promotion == nil && (shows || s.Demotion == nil)
	})
	tr.more() // of both
	if !a.app.running(tr.t) {
		tr.t.Fatal("the old active's application does not run")
	}
	for _, e := range query[[]control.ClusterEvent](b, "events", "--cluster") {
		if e.Kind == "demotion" {
			tr.t.Errorf("its application runs, and the history says: %s", e.Text)
		}
	}
	tr.launch(a)
	tr.until(a, "keeps what it has", func(s report.Status) bool { return s.Role == ha.RoleStandby && s.Demotion == nil })
	var message string
	if !shows { // the copy is an ordinary standby by now, and the two have one name: one of them ends
		a.eventually("one of the two has ended", func() error {
			if !a.ended() && !clone.ended() {
				return errors.New("both run")
			}
			return nil
		})
		if a.ended() {
			message = tr.ends(a)
		}
	}
	if clone.ended() {
		tr.ends(clone)
	} else {
		clone.stopAgent()
	}
	if message != "" {
		a.obeys(message, "join --replace")
		tr.launch(a)
	}
	clone.env = append(clone.env, "UNDERSTUDY_INSTANCE=host-c")
	clone.run("join", "--replace")
	tr.launch(clone)
}

// ends waits until a host's agent has ended, and returns what it has said.
func (tr *trial) ends(h *host) (said string) {
	tr.t.Helper()
	h.eventually("ends", func() error {
		if !h.ended() {
			return errors.New("it runs")
		}
		return nil
	})
	h.agent = nil
	text, err := os.ReadFile(h.path("agent.log"))
	if err != nil {
		tr.t.Fatal(err)
	}
	return string(text)
}

// twoEpochsBack puts back to epoch 1 who led in epochs 1 and 3. In the bucket lies
// the record of what it kept when epoch 1 ended.
func (tr *trial) twoEpochsBack(shows bool) {
	a, b := tr.active, tr.other
	old := tr.copied(a)
	a.killAgent()
	tr.more()
	tr.insist(b)
	tr.launch(a)
	tr.settle()
	tr.check() // what was lost is in its first salvage backup
	a.run("promote", "--yes")
	tr.settle()
	tr.more()
	a.killAgent()
	tr.more()
	tr.putBack(a, old, shows)
	tr.launch(a)
	message := tr.refused(a)
	if text, err := os.ReadFile(a.path("agent.log")); err != nil || strings.Contains(string(text), a.name+" became the active in epoch 3: stepping down") {
		tr.t.Errorf("it steps down for itself: %v", err)
	}
	tr.insist(b)
	a.stopAgent()
	a.obeys(message, "join --replace")
	tr.launch(a)
}

// copyOfAStandby has a copy of a standby run beside it while it is promoted, and
// after. The original starts again, and salvages first where it is joined afresh.
func (tr *trial) copyOfAStandby(shows bool) {
	a, b := tr.active, tr.other
	clone := tr.clone(b, shows)
	release := tr.hold(b)
	promoted := tr.background(b, "promote", "--yes")
	tr.until(b, "is being promoted", func(s report.Status) bool { return s.Promotion != nil })
	clone.launch()
	tr.until(clone, "has come into the bucket", func(s report.Status) bool { return s.Head != nil && s.Bucket == "ok" })
	tr.registered(a, clone, !shows)
	release()
	if r := promoted(); r.code != 0 {
		tr.t.Fatalf("promote: exit %d: %s", r.code, r.errout)
	}
	tr.until(b, "leads", func(s report.Status) bool { return s.Leading && s.App == "running" })
	tr.more()
	tr.refused(clone)
	if !shows { // one that shows that it is a copy writes nothing
		for _, h := range []*host{a, b} {
			h.hasProblem("has written its record: a copy of its data folder")
		}
	}

	// The active's agent dies, and starts again as `join` says.
	b.killAgent()
	tr.more()
	if r := b.try("join"); !slices.Contains(names(r.out+r.errout), "understudy serve") {
		tr.t.Errorf("join on the active: exit %d: %s%s", r.code, r.out, r.errout)
	}
	tr.launch(b)
	tr.until(b, "leads again", func(s report.Status) bool { return s.Leading && s.App == "running" })
	clone.stopAgent()

	// It is joined afresh all the same.
	b.stopAgent()
	tr.more()
	b.run("join", "--replace")
	tr.launch(b)
	tr.insist(a)
}

// standbyDays puts an active back to before its promotion: the head names it, and it
// takes itself for a standby.
func (tr *trial) standbyDays(shows bool) {
	a, b := tr.active, tr.other
	old := tr.copied(b)
	b.run("promote", "--yes")
	tr.settle()
	tr.more()
	b.killAgent()
	tr.more()
	tr.putBack(b, old, shows)
	tr.launch(b)
	message := tr.refused(b)
	tr.insist(a)
	b.stopAgent() // or it has ended: its record is that of its own future
	b.obeys(message, "join --replace")
	tr.launch(b)
}

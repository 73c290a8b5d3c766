package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/source/directory"
	"github.com/understudy-ha/understudy/backup/source/sqlite"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
)

// trial is a small cluster in which processes die, one after the other: files
// and SQLite on a folder, with the shortest intervals that an agent takes.
type trial struct {
	t      *testing.T
	c      *cluster
	bin    string
	poll   time.Duration
	hosts  []*host
	active *host // as last settled
	other  *host // a standby
	epoch  uint64
	ledger *sample
	listed map[string]bool // backups seen in the list
	gone   map[entry]bool  // commits that a failover lost, each of them salvaged
	tries  int
}

// newTrial makes a cluster of two hosts that run a program, and waits until it
// has settled.
func newTrial(t *testing.T, bin string) *trial {
	t.Helper()
	return newTrialPolling(t, bin, 100*time.Millisecond)
}

// newTrialPolling is newTrial with hosts that poll so often.
func newTrialPolling(t *testing.T, bin string, poll time.Duration) *trial {
	t.Helper()
	tr := &trial{t: t, c: newCluster(t, "file://"+t.TempDir(), nil), bin: bin, poll: poll, listed: map[string]bool{}, gone: map[entry]bool{}}
	a, b := tr.host(), tr.host()
	tr.ledger = a.app.(held).sample
	tr.ledger.do(t, "start")
	a.run("init")
	tr.launch(a)
	tr.until(a, "leads", func(s report.Status) bool { return s.Leading })
	tr.join(b)
	for _, kv := range [][2]string{{"stop_timeout", "4s"}, {"margin", "500ms"}, {"ttl", (3*poll + 4700*time.Millisecond).String()}} {
		a.run("config", "set", kv[0], kv[1])
	}
	tr.settle()
	return tr
}

// host adds a host to the trial, which is not yet part of the cluster.
func (tr *trial) host() *host {
	tr.t.Helper()
	name := fmt.Sprint("host-", string(rune('a'+len(tr.c.hosts))))
	app := &sample{dir: filepath.Join(tr.c.dir, name+"-app"), ledger: filepath.Join(tr.c.dir, "ledger"), every: 200 * time.Millisecond}
	for _, dir := range []string{filepath.Join(app.dir, "uploads"), filepath.Join(app.dir, "static"), filepath.Join(tr.c.dir, name, "crash")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			tr.t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(app.dir, "static", "page"), []byte("never changes"), 0o600); err != nil {
		tr.t.Fatal(err)
	}
	h := tr.c.host(name, held{app, filepath.Join(tr.c.dir, name, "hold")})
	h.bin, h.commands = tr.bin, tr.bin // what crashes where it is told to: commands do, too
	h.env = append(h.env, "UNDERSTUDY_POLL="+tr.poll.String(), "UNDERSTUDY_CRASH_DIR="+h.path("crash"))
	return h
}

// held is the sample application with a probe that takes as long as a file is
// there.
type held struct {
	*sample
	file string
}

func (h held) config() string {
	return h.sample.config() + fmt.Sprintf("  probe: [sh, -c, 'while [ -e \"$0\" ]; do sleep 0.02; done', %q]\n", h.file)
}

// hold has a host's next restore last until release is called.
func (tr *trial) hold(h *host) (release func()) {
	tr.t.Helper()
	file := h.app.(held).file
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		tr.t.Fatal(err)
	}
	return func() {
		if err := os.Remove(file); err != nil {
			tr.t.Error(err)
		}
	}
}

// join makes a host a standby of the cluster.
func (tr *trial) join(h *host) {
	tr.t.Helper()
	h.run("join")
	tr.launch(h)
}

// launch starts a host's agent, which is part of the trial from then on.
func (tr *trial) launch(h *host) {
	tr.t.Helper()
	h.launch()
	if !slices.Contains(tr.hosts, h) {
		tr.hosts = append(tr.hosts, h)
	}
}

// look asks a host's agent for its status, as the command line does.
func (tr *trial) look(h *host) (report.Status, error) {
	var s report.Status
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", h.path("data/agent.sock"))
		},
	}}
	resp, err := client.Get("http://agent/api/v1/status")
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return s, errors.New(resp.Status)
	}
	return s, json.NewDecoder(resp.Body).Decode(&s)
}

// until waits for something about a host's status.
func (tr *trial) until(h *host, what string, is func(report.Status) bool) {
	tr.t.Helper()
	h.eventually(what, func() error {
		s, err := tr.look(h)
		if err == nil && !is(s) {
			err = errors.New(describe(h, s))
		}
		return err
	})
}

func describe(h *host, s report.Status) string {
	text, _ := json.Marshal(map[string]any{
		"state": s.State, "epoch": s.Epoch, "application": s.App, "promotion": s.Promotion, "demotion": s.Demotion,
		"handover": s.Handover, "problems": s.Problems,
	})
	return h.name + " " + string(text)
}

// arm has a host's agent die at a point.
func (tr *trial) arm(h *host, point string) {
	tr.t.Helper()
	if err := os.WriteFile(h.path("crash/arming"), []byte(point), 0o600); err != nil {
		tr.t.Fatal(err)
	}
	if err := os.Rename(h.path("crash/arming"), h.path("crash/at")); err != nil {
		tr.t.Fatal(err)
	}
}

// died waits until a host's agent has died at the point that it was armed
// with.
func (tr *trial) died(h *host) {
	tr.t.Helper()
	at, _ := os.ReadFile(h.path("crash/at"))
	received(tr.t, fmt.Sprintf("%s: %s is reached", h.name, at), h.exited)
	h.agent = nil
	if err := os.Remove(h.path("crash/died")); err != nil {
		tr.t.Fatalf("%s: the agent ended by itself: %v", h.name, err)
	}
}

// background runs a command on a host. What comes of it is told by wait, once
// it has ended.
func (tr *trial) background(h *host, args ...string) (wait func() result) {
	tr.t.Helper()
	done := h.background(args...)
	return func() result { return received(tr.t, fmt.Sprintf("%s: %q ends", h.name, args), done) }
}

// settle waits until the cluster is in order on its own: one active whose
// application runs, everybody else a standby with the newest backup, nothing
// under way.
func (tr *trial) settle() {
	tr.t.Helper()
	eventually(tr.t, "the cluster settles", func() error {
		var active []*host
		var wrong []error
		var epoch uint64
		for _, h := range tr.hosts {
			s, err := tr.look(h)
			if err != nil {
				wrong = append(wrong, err)
				continue
			}
			leads := s.State == report.StateActive && s.Leading && s.App == "running"
			follows := s.State == report.StateInSync && s.App == "stopped"
			if leads {
				active, epoch = append(active, h), s.Epoch
			}
			if !leads && !follows || s.Promotion != nil || s.Demotion != nil || s.Handover != nil {
				wrong = append(wrong, errors.New(describe(h, s)))
			}
		}
		if len(wrong) > 0 || len(active) != 1 {
			return fmt.Errorf("%d active: %w", len(active), errors.Join(wrong...))
		}
		tr.active, tr.epoch = active[0], epoch
		return nil
	})
	tr.other = tr.hosts[slices.IndexFunc(tr.hosts, func(h *host) bool { return h != tr.active })]
}

// check looks at what a crash must not harm, in a cluster that has settled.
func (tr *trial) check() {
	tr.t.Helper()
	for _, h := range tr.hosts {
		if runs := h.app.running(tr.t); runs != (h == tr.active) {
			tr.t.Fatalf("%s: the application runs: %t, active: %t", h.name, runs, h == tr.active)
		}
		tr.tidy(h)
	}
	salvaged := tr.checkBackups()
	tr.checkLedger(salvaged)
}

// tidy waits until nothing is left over: beside what is restored, of a swap,
// or of a pull. What is under way just now goes by itself. A standby has the
// newest backup staged, and nothing else.
func (tr *trial) tidy(h *host) {
	tr.t.Helper()
	h.eventually("has tidied up", func() error { return tr.leftOver(h) })
}

// swapRecords are what the folder of swaps has besides the journal of one: where
// something was ever set aside, and how far the reading of a stage has come.
var swapRecords = []string{"aside.json", "reread.json"}

func (tr *trial) leftOver(h *host) error {
	left, err := filepath.Glob(filepath.Join(h.app.(held).dir, ".*understudy*"))
	half, halfErr := filepath.Glob(h.path("data/.*"))
	left, err = append(left, half...), errors.Join(err, halfErr)
	for _, path := range []string{"data/swap", "data/cache/partial"} {
		entries, readErr := os.ReadDir(h.path(path))
		err = errors.Join(err, readErr)
		for _, e := range entries {
			if !slices.Contains(swapRecords, e.Name()) {
				left = append(left, h.path(path+"/"+e.Name()))
			}
		}
	}
	staged, stagedErr := tr.staged(h)
	err = errors.Join(err, stagedErr)
	for _, path := range staged {
		if at := slices.Index(left, path); at >= 0 {
			left = slices.Delete(left, at, at+1)
		} else {
			err = errors.Join(err, fmt.Errorf("not staged: %s", path))
		}
	}
	if len(left) > 0 {
		err = errors.Join(err, fmt.Errorf("left over: %q", left))
	}
	return err
}

// staged is what lies beside a standby's state once it has rehearsed the newest
// backup: each source's stage, a directory's with the list of what is in it and the
// marks by which that is known again, and the journal with their seals. An active has nothing.
func (tr *trial) staged(h *host) ([]string, error) {
	if h == tr.active {
		return nil, nil
	}
	s, err := tr.look(h)
	if err != nil {
		return nil, err
	}
	if s.LastBackup == nil || s.Staged != s.LastBackup.ID {
		return nil, fmt.Errorf("staged is %q, the newest backup is %+v", s.Staged, s.LastBackup)
	}
	dir := h.app.(held).dir
	uploads, uploadsErr := directory.New("uploads", directory.Config{Path: filepath.Join(dir, "uploads")})
	static, staticErr := directory.New("static", directory.Config{Path: filepath.Join(dir, "static")})
	db, dbErr := sqlite.New("db", sqlite.Config{Path: filepath.Join(dir, "sample.db"), Scratch: h.path("scratch")})
	if err := errors.Join(uploadsErr, staticErr, dbErr); err != nil {
		return nil, err
	}
	all := []string{db.Staged(), h.path("data/swap/swap.json")}
	for _, d := range []*directory.Source{uploads, static} {
		beside := strings.TrimSuffix(d.Staged(), "staged")
		all = append(all, d.Staged(), beside+"list", beside+"marks")
	}
	return all, nil
}

// checkBackups finds every backup ever listed, and verifies those that are
// new. It gives the new salvage backups.
func (tr *trial) checkBackups() (salvaged []string) {
	tr.t.Helper()
	now := map[string]bool{}
	for _, b := range query[[]control.BackupInfo](tr.active, "backups") {
		now[b.ID] = true
		if tr.listed[b.ID] {
			continue
		}
		tr.active.run("verify", b.ID)
		if b.Salvage {
			salvaged = append(salvaged, b.ID)
		}
	}
	for id := range tr.listed {
		if !now[id] {
			tr.t.Fatalf("backup %s is not listed any more", id)
		}
	}
	tr.listed = now
	return salvaged
}

// checkLedger finds every commit that the application ever acknowledged: in
// the active's database or, after a failover, in a salvage backup.
func (tr *trial) checkLedger(salvaged []string) {
	tr.t.Helper()
	acknowledged := tr.ledger.acknowledged(tr.t)
	lost := slices.DeleteFunc(missing(acknowledged, tr.active.app.rows(tr.t)), func(e entry) bool { return tr.gone[e] })
	if len(lost) == 0 {
		return
	}
	still := lost
	for _, id := range salvaged {
		tr.tries++
		dir := tr.active.path(fmt.Sprint("restore-", tr.tries))
		tr.active.run("restore", id, "--to", dir)
		still = missing(still, tr.active.app.restored(tr.t, dir))
	}
	if len(still) > 0 {
		tr.t.Fatalf("%d of %d acknowledged commits are neither on the active nor in a new salvage backup %q: %v …", len(still), len(acknowledged), salvaged, still[0])
	}
	for _, e := range lost {
		tr.gone[e] = true
	}
}

// promote makes the standby the active by a switchover that must work.
func (tr *trial) promote() {
	tr.t.Helper()
	if p := query[promotions.PromotionStatus](tr.other, "promote", "--yes"); p.State != promotions.PromotionDone {
		tr.t.Fatalf("promotion: %+v", p)
	}
	epoch := tr.epoch
	tr.settle()
	if tr.epoch != epoch+1 {
		tr.t.Fatalf("the switchover led from epoch %d to %d", epoch, tr.epoch)
	}
}

// passed gives the points that a trial's processes passed.
func (tr *trial) passed() map[string]bool {
	tr.t.Helper()
	points := map[string]bool{}
	for _, h := range tr.c.hosts {
		text, err := os.ReadFile(h.path("crash/passed"))
		if err != nil {
			tr.t.Fatal(err)
		}
		for _, point := range strings.Fields(string(text)) {
			points[point] = true
		}
	}
	return points
}

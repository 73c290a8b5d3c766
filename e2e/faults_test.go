package e2e

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/e2e/server"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/report"
)

// ordeal is two hosts, each with a line of its own to MinIO, on which things
// go wrong. After each of them all must be well again: see sound.
type ordeal struct {
	*story
	active, standby *host
	epoch           uint64
	wires           map[*host]*server.Wire
	proxies         map[*host]*storetest.Proxy // between wire and server
	apps            map[*host]*scripted
	known           map[string]bool // backups that were ever listed
	marks           map[*host]int64 // where in the log of each the present fault began
}

// bounds of the cluster's fencing, as set in setUp.
const (
	ordealTTL    = 15 * time.Second
	ordealMargin = 2 * time.Second
	ordealStop   = 5 * time.Second
)

// newOrdeal makes the hosts, each prepared by a function, which may be nil,
// before anything is in its folder dir and its application's folder app.
func newOrdeal(t *testing.T, prepare func(name, dir, app string)) *ordeal {
	t.Helper()
	minio := server.SharedMinIO(t)
	bucket := minio.NewBucket(t)
	c := newCluster(t, bucket, minio.Env())
	o := &ordeal{
		story: &story{t: t, gone: map[entry]bool{}}, epoch: 1,
		wires: map[*host]*server.Wire{}, proxies: map[*host]*storetest.Proxy{}, apps: map[*host]*scripted{},
		known: map[string]bool{}, marks: map[*host]int64{},
	}
	for _, name := range []string{"host-a", "host-b"} {
		proxy := storetest.NewProxy(t, "http://"+minio.Address)
		wire := server.NewWire(t, proxy.Address())
		c.bucket = strings.Replace(bucket, url.QueryEscape(minio.Address), url.QueryEscape(wire.Address), 1)
		dir := filepath.Join(c.dir, name)
		app := &scripted{
			sample:  &sample{dir: dir + "-app", ledger: filepath.Join(c.dir, "ledger"), every: 100 * time.Millisecond},
			scripts: dir + "-hooks",
		}
		if prepare != nil {
			prepare(name, dir, app.dir)
		}
		for _, folder := range []string{app.dir + "/uploads", app.dir + "/static", app.scripts} {
			if err := os.MkdirAll(folder, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		h := c.host(name, app)
		o.wires[h], o.proxies[h], o.apps[h] = wire, proxy, app
	}
	o.active, o.standby = c.hosts[0], c.hosts[1]
	o.ledger = o.apps[o.active].sample
	return o
}

func (o *ordeal) setUp() {
	o.t.Helper()
	o.apps[o.active].do(o.t, "start")
	o.active.run("init")
	o.active.serve()
	o.standby.run("join")
	o.standby.serve()
	for name, value := range map[string]time.Duration{"stop_timeout": ordealStop, "margin": ordealMargin} {
		o.active.run("config", "set", name, value.String())
	}
	o.active.run("config", "set", "ttl", ordealTTL.String())
	o.active.is(report.StateActive)
	o.grow(100 << 10)
	o.begin("nothing goes wrong yet")
	o.sound()
}

// ended reports whether a host's agent has ended by itself.
func (h *host) ended() bool {
	select {
	case <-h.exited:
		return true
	default:
		return false
	}
}

// revived starts an agent again that has ended by itself, as systemd does.
func (o *ordeal) revived(h *host) {
	o.t.Helper()
	if h.ended() {
		o.t.Logf("%s had ended, and is started again", h.name)
		h.serve()
	}
}

// begin names the next thing that goes wrong.
func (o *ordeal) begin(what string) {
	o.t.Helper()
	o.t.Logf("%s: %s", time.Now().Format(time.TimeOnly), what)
	for h := range o.wires {
		info, err := os.Stat(h.path("agent.log"))
		if err != nil {
			o.t.Fatal(err)
		}
		o.marks[h] = info.Size()
	}
}

// both runs a function for both hosts.
func (o *ordeal) both(do func(h *host)) {
	do(o.active)
	do(o.standby)
}

// turned is a promotion of the standby.
func (o *ordeal) turned() {
	o.active, o.standby = o.standby, o.active
	o.epoch++
}

// grow gives the active bytes of new state that cannot be compressed, in files
// of a megabyte at most.
func (o *ordeal) grow(size int) {
	o.t.Helper()
	for size > 0 {
		data := make([]byte, min(size, 1<<20))
		size -= len(data)
		_, _ = rand.Read(data) // never fails
		path := filepath.Join(o.apps[o.active].dir, "static", rand.Text())
		if err := os.WriteFile(path, data, 0o644); err != nil {
			o.t.Fatal(err)
		}
	}
}

// await takes the result of a command that has to end.
func (o *ordeal) await(done <-chan result) result {
	o.t.Helper()
	return received(o.t, "a command ends", done)
}

// lines gives what a host's agent has logged since the fault began, as far as
// it has all the words.
func (o *ordeal) lines(h *host, words ...string) []string {
	o.t.Helper()
	f, err := os.Open(h.path("agent.log"))
	if err != nil {
		o.t.Fatal(err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.NewSectionReader(f, o.marks[h], 1<<30))
	if err != nil {
		o.t.Fatal(err)
	}
	var found []string
	for line := range strings.Lines(string(text)) {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			found = append(found, line)
		}
	}
	return found
}

// says waits until a host's agent has logged a line with all the words.
func (o *ordeal) says(h *host, words ...string) {
	o.t.Helper()
	h.eventually(fmt.Sprintf("logs a line with %q", words), func() error {
		if len(o.lines(h, words...)) == 0 {
			return errors.New("it does not")
		}
		return nil
	})
}

// sound checks that all is well, whatever went wrong before: everybody can use
// the bucket; the active is one and the standby follows, and has rehearsed the
// newest backup; every backup that was
// ever committed is still there, and every cached one has been verified; the
// application has lost nothing; nobody has used much memory.
func (o *ordeal) sound() {
	o.t.Helper()
	o.both(func(h *host) {
		h.eventually("can use the bucket", func() error {
			if s := h.status(); s.Bucket != "ok" {
				return errors.New(s.Bucket)
			}
			return nil
		})
	})
	o.active.is(report.StateActive)
	o.moreWrites(10)
	o.replicate(o.active, o.standby)
	o.standby.is(report.StateInSync)
	o.standby.rehearses()
	o.both(func(h *host) {
		if s := h.status(); s.Epoch != o.epoch || s.Active != o.active.name {
			o.t.Fatalf("%s is in epoch %d, with %s as the active; want %d, %s", h.name, s.Epoch, s.Active, o.epoch, o.active.name)
		}
		if running := h.app.running(o.t); running != (h == o.active) {
			o.t.Fatalf("the application on %s runs: %v", h.name, running)
		}
		o.sparing(h)
	})
	acknowledged := o.ledger.acknowledged(o.t)
	if lost := o.missing(acknowledged, o.active.app.rows(o.t)); len(lost) > 0 {
		o.t.Fatalf("%d of %d acknowledged commits are lost: %v …", len(lost), len(acknowledged), lost[0])
	}
	o.kept()
}

// kept checks that every backup is still there and whole.
func (o *ordeal) kept() {
	o.t.Helper()
	listed := map[string]bool{}
	for _, b := range query[[]control.BackupInfo](o.active, "backups") {
		listed[b.ID] = true
	}
	for id := range o.known {
		if !listed[id] {
			o.t.Fatalf("backup %s is no longer listed", id)
		}
	}
	o.known = listed
	for id := range listed {
		o.active.run("verify", id)
	}
	cached := o.standby.status().Cached
	if len(cached) == 0 {
		o.t.Fatal("the standby has nothing in its cache")
	}
	for _, ref := range cached {
		o.standby.run("verify", ref.ID, "--cached", "--deep")
	}
}

// maxMemory is how much an agent may have used, in bytes. The race detector takes more.
func maxMemory() int64 {
	if *allRaced {
		return 300 << 20
	}
	return 100 << 20
}

// sparing checks how much memory a host's agent has used at the most.
func (o *ordeal) sparing(h *host) {
	o.t.Helper()
	peak := peakOf(o.t, h.agent.Process.Pid)
	if most := maxMemory(); peak > most {
		o.t.Fatalf("%s has used %d MiB of memory, want %d at most", h.name, peak>>20, most>>20)
	}
	o.t.Logf("%s has used %d MiB of memory at the most", h.name, peak>>20)
}

// peakOf is how much memory a running process has used at the most, in bytes.
func peakOf(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			peak, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return peak << 10
		}
	}
	t.Fatalf("the peak of memory is not in:\n%s", text)
	return 0
}

// scripted is the sample application with hooks that a test can tell to
// misbehave: each runs a script first, if there is one.
type scripted struct {
	*sample
	scripts string // folder
}

func (s *scripted) script(hook string) string { return filepath.Join(s.scripts, hook) }

// misbehave gives a hook a script. "$@" is what the hook is to do after it.
func (s *scripted) misbehave(t *testing.T, hook, script string) {
	t.Helper()
	if err := os.WriteFile(s.script(hook)+".new", []byte(script+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(s.script(hook)+".new", s.script(hook)); err != nil {
		t.Fatal(err)
	}
}

// behave takes a hook's script away.
func (s *scripted) behave(t *testing.T, hook string) {
	t.Helper()
	if err := os.Remove(s.script(hook)); err != nil {
		t.Fatal(err)
	}
}

// hookTimeout is what hooks may take, demote apart, which has stop_timeout.
const hookTimeout = 6 * time.Second

func (s *scripted) config() string {
	sources, _, _ := strings.Cut(s.sample.config(), "hooks:\n")
	text := sources + "hooks:\n"
	for _, hook := range [][2]string{
		{"promote", s.hook("start")}, {"pre_backup", s.hook("quiesce")}, {"post_backup", s.hook("resume")},
		{"probe", `["true"]`}, {"demote", s.hook("stop")},
	} {
		timeout := ", timeout: " + hookTimeout.String()
		if hook[0] == "demote" {
			timeout = ""
		}
		text += fmt.Sprintf("  %s: {command: [sh, -c, %q, %q, %s%s}\n",
			hook[0], `[ ! -e "$0" ] || . "$0"; exec "$@"`, s.script(hook[0]), strings.TrimPrefix(hook[1], "["), timeout)
	}
	return text
}

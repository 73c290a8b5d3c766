package prometheus

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/directory"
	"github.com/understudy-ha/understudy/backup/source/internal/swap"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
	"github.com/understudy-ha/understudy/e2e/server"
)

const adminAPI = "--web.enable-admin-api"

// newMetrics makes the source of a server's history.
func newMetrics(t *testing.T, s *server.PrometheusServer, change func(*Config)) *Source {
	t.Helper()
	cfg := Config{
		URL: s.URL(), DataDir: s.DataDir, Stop: s.StopCommand(), Start: s.StartCommand(),
		Scratch: filepath.Join(t.TempDir(), "scratch"), Now: sourcetest.Stillness,
	}
	if change != nil {
		change(&cfg)
	}
	p, err := New("metrics", cfg)
	sourcetest.Must(t, err)
	return p
}

// remembers reports whether a server finds a metric of ten days ago.
func remembers(t *testing.T, s *server.PrometheusServer, metric string) bool {
	t.Helper()
	var found []server.Sample
	var err error
	eventually(t, func() bool {
		found, err = s.Query(t.Context(), "count_over_time("+metric+"[20d])")
		return err == nil
	})
	return len(found) > 0
}

// eventually waits for what is bound to come.
func eventually(t *testing.T, check func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !check() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("not within a minute")
		}
	}
}

// TestPrometheusHistory takes a history from one server to another, and back
// again: every step of a promotion, on two real servers.
func TestPrometheusHistory(t *testing.T) {
	a, b := server.Prometheus(t, "", adminAPI), server.Prometheus(t, "", adminAPI)
	past := time.Now().Add(-10 * 24 * time.Hour)
	a.WritePast(t, "of_the_active", past)
	b.WritePast(t, "of_the_standby", past)
	from, to := newMetrics(t, a, nil), newMetrics(t, b, nil)
	sourcetest.Must(t, from.Check(t.Context()))
	sourcetest.Must(t, from.Preview(t.Context()))

	v := sourcetest.NewVault(t)
	e, _ := v.Backup(t, from)
	var facts Facts
	sourcetest.Must(t, json.Unmarshal(e.Facts, &facts))
	if e.Kind != "prometheus" || facts.Path != a.DataDir || facts.Blocks < 1 || facts.Samples < 100 || facts.Series < 10 || facts.Version == "" {
		t.Errorf("entry of kind %s: %s", e.Kind, e.Facts)
	}
	if age := time.Since(*facts.From); age < 9*24*time.Hour || age > 11*24*time.Hour {
		t.Errorf("the first sample is of %v", facts.From)
	}
	if left, err := os.ReadDir(from.snapshots.dir()); err != nil || len(left) > 0 {
		t.Errorf("snapshots left: %v %v", left, err)
	}
	sourcetest.Must(t, from.Preview(t.Context()))

	// A snapshot links every block anew, and yet none is read again.
	read := 0
	from.read = func(step, path string) error {
		if base := filepath.Base(path); step == "open" && (base == "index" || base == "meta.json" || base == "000001") {
			read++
		}
		return nil
	}
	if _, stats := v.Backup(t, from); read > 0 || stats.New > 4<<10 { // times of files are new
		t.Errorf("%d files of a block that has not changed were read again, %d bytes are new", read, stats.New)
	}

	out := filepath.Join(t.TempDir(), "exported")
	sourcetest.Must(t, source.Export(t.Context(), v.Reader(), v.Prev.Entry, out))
	if text, err := server.Promtool(t, "", "tsdb", "analyze", out); err != nil || !strings.Contains(text, "of_the_active") {
		t.Errorf("the exported folder is no data folder of Prometheus: %v\n%s", err, text)
	}

	r := to
	sourcetest.Must(t, r.Stage(t.Context(), v.Reader(), v.Prev.Entry))
	sourcetest.Must(t, r.Swap(t.Context()))
	if !remembers(t, b, "of_the_active") || remembers(t, b, "of_the_standby") {
		t.Error("after the swap the standby's server does not have the active's past")
	}
	sourcetest.Must(t, r.SwapBack(t.Context()))
	if remembers(t, b, "of_the_active") || !remembers(t, b, "of_the_standby") {
		t.Error("after the swap back the standby's server does not have its own past")
	}
	sourcetest.Must(t, r.Stage(t.Context(), v.Reader(), v.Prev.Entry))
	sourcetest.Must(t, r.Swap(t.Context()))
	sourcetest.Must(t, r.Discard(t.Context()))
	sourcetest.MustSweep(t, r)
	if !remembers(t, b, "of_the_active") {
		t.Error("the history is gone with the leftovers")
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(b.DataDir), ".*understudy*")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}

	d, err := source.Compare(t.Context(), source.Side{Entry: v.Prev.Entry, Reader: v.Reader()}, source.Side{Entry: v.Prev.Entry, Reader: v.Reader()}, source.CompareOptions{})
	if err != nil || d.Files == nil || !d.Same {
		t.Errorf("a backup differs from itself: %+v %v", d, err)
	}

	checksOfPrometheus(t, a)
}

// checksOfPrometheus is about what keeps a history from being backed up.
func checksOfPrometheus(t *testing.T, s *server.PrometheusServer) {
	for name, tt := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"another data folder": {func(c *Config) { c.DataDir = t.TempDir() }, "keeps its data in " + s.DataDir + ", not in data_dir"},
		"no such program":     {func(c *Config) { c.Stop = []string{"no-such-program"} }, "no-such-program"},
		"nobody there":        {func(c *Config) { c.URL = "http://user:s3cret@127.0.0.1:1" }, "start it, or correct url"},
	} {
		err := newMetrics(t, s, tt.change).Check(t.Context())
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: error %v, want %q", name, err, tt.want)
		}
	}
	off := server.Prometheus(t, "")
	p := newMetrics(t, off, nil)
	_, _, dumped := sourcetest.NewVault(t).TryBackup(t.Context(), p)
	for _, err := range []error{p.Check(t.Context()), dumped} {
		if err == nil || !strings.Contains(err.Error(), "start it with --web.enable-admin-api") {
			t.Errorf("without an admin API: error %v", err)
		}
	}
	if err := p.CheckRestore(t.Context()); err != nil {
		t.Errorf("a restore needs no admin API: %v", err)
	}
}

// standIn is a folder with a stop and a start command that note in a file
// whether a server would run.
type standIn struct {
	cfg Config
	dir string
}

func newStandIn(t *testing.T) *standIn {
	t.Helper()
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	sourcetest.Must(t, os.MkdirAll(filepath.Join(data, "old"), 0o755))
	runs := filepath.Join(dir, "runs")
	sourcetest.Must(t, os.WriteFile(runs, nil, 0o600))
	return &standIn{dir: dir, cfg: Config{
		URL: "http://127.0.0.1:1", DataDir: data, Scratch: filepath.Join(dir, "scratch"),
		Stop: []string{"rm", "-f", runs}, Start: []string{"touch", runs},
	}}
}

func (s *standIn) open(t *testing.T) *Source {
	t.Helper()
	p, err := New("metrics", s.cfg)
	sourcetest.Must(t, err)
	return p
}

// state tells whose the data folder is, and whether the server runs.
func (s *standIn) state(t *testing.T) (content string, running bool) {
	t.Helper()
	entries, err := os.ReadDir(s.cfg.DataDir)
	sourcetest.Must(t, err)
	if len(entries) != 1 {
		t.Fatalf("the data folder has %v", entries)
	}
	_, err = os.Stat(filepath.Join(s.dir, "runs"))
	return entries[0].Name(), err == nil
}

// newHistory is a backup of a folder that takes itself for a history.
func newHistory(t *testing.T, version string) (*pack.Reader, source.Entry) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	sourcetest.Must(t, os.MkdirAll(filepath.Join(dir, "new"), 0o755))
	v := sourcetest.NewVault(t)
	files, err := directory.New("files", directory.Config{Path: dir, Now: sourcetest.Stillness})
	sourcetest.Must(t, err)
	e, _ := v.Backup(t, files)
	told := Facts{Version: version}
	sourcetest.Must(t, json.Unmarshal(e.Facts, &told.Facts))
	facts, err := json.Marshal(told)
	sourcetest.Must(t, err)
	e.Kind, e.Facts = "prometheus", facts
	return v.Reader(), e
}

var errCrash = errors.New("the process ends here")

// TestInterruptedSwapOfPrometheusEnds: wherever a swap was cut off, either way
// out leaves the server running on one whole state.
func TestInterruptedSwapOfPrometheusEnds(t *testing.T) {
	r, e := newHistory(t, "2.42.0")
	for _, at := range []string{"stop", "swap", "start"} {
		for _, back := range []bool{false, true} {
			s := newStandIn(t)
			p := s.open(t)
			sourcetest.Must(t, p.Stage(t.Context(), r, e))
			p.process.fault = func(step string) error {
				if step == at {
					return errCrash
				}
				return nil
			}
			if err := p.Swap(t.Context()); !errors.Is(err, errCrash) {
				t.Fatalf("at %s: %v", at, err)
			}
			after, want := s.open(t), "new"
			if back {
				want = "old"
				sourcetest.Must(t, after.SwapBack(t.Context()))
				sourcetest.Must(t, after.SwapBack(t.Context()))
			} else {
				sourcetest.Must(t, after.Swap(t.Context()))
				sourcetest.Must(t, after.Swap(t.Context()))
				sourcetest.Must(t, after.Discard(t.Context()))
				sourcetest.Must(t, after.Discard(t.Context()))
			}
			if content, running := s.state(t); content != want || !running {
				t.Errorf("cut off at %s, back %t: content %s, running %t", at, back, content, running)
			}
		}
	}
}

func TestStageAloneLeavesPrometheusRunning(t *testing.T) {
	r, e := newHistory(t, "2.42.0")
	s := newStandIn(t)
	s.cfg.Stop = []string{"false"}
	p := s.open(t)
	sourcetest.Must(t, p.Stage(t.Context(), r, e))
	sourcetest.Must(t, p.SwapBack(t.Context()))
	if err := p.Swap(t.Context()); !errors.Is(err, swap.ErrNothingStaged) {
		t.Errorf("a swap of nothing: %v", err)
	}
}

func TestSwapNeedsPrometheusStopped(t *testing.T) {
	r, e := newHistory(t, "2.42.0")
	s := newStandIn(t)
	sourcetest.Must(t, os.WriteFile(filepath.Join(s.cfg.DataDir, "old", "wal"), nil, 0o600))
	holder := exec.Command("sh", "-c", `exec <"$0"; echo open; exec sleep 1000`, filepath.Join(s.cfg.DataDir, "old", "wal"))
	out, err := holder.StdoutPipe()
	sourcetest.Must(t, err)
	sourcetest.Must(t, holder.Start())
	end := sync.OnceFunc(func() { _, _ = holder.Process.Kill(), holder.Wait() })
	t.Cleanup(end)
	_, err = io.ReadFull(out, make([]byte, len("open\n")))
	sourcetest.Must(t, err)
	p := s.open(t)
	sourcetest.Must(t, p.Stage(t.Context(), r, e))
	if err := p.Swap(t.Context()); err == nil || !strings.Contains(err.Error(), "(sleep, of ") {
		t.Errorf("error %v", err)
	}
	end()
	listening := httptest.NewServer(http.NotFoundHandler())
	defer listening.Close()
	s.cfg.URL = listening.URL
	if err := s.open(t).Swap(t.Context()); err == nil || !strings.Contains(err.Error(), "is still served") {
		t.Errorf("error %v", err)
	}
	s.cfg.Stop = []string{"sh", "-c", "echo no such unit; exit 5"}
	if err := s.open(t).Swap(t.Context()); err == nil || !strings.Contains(err.Error(), "no such unit") {
		t.Errorf("error %v", err)
	}
	if content, _ := s.state(t); content != "old" {
		t.Errorf("content %s", content)
	}
}

func TestBlocksOfANewerPrometheusAreRefused(t *testing.T) {
	here := "2.54.1"
	answers := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"status":"success","data":{"version":%q}}`, here)
	}))
	defer answers.Close()
	s := newStandIn(t)
	s.cfg.URL = answers.URL
	r, e := newHistory(t, "3.1.0")
	err := s.open(t).Stage(t.Context(), r, e)
	if err == nil || !strings.Contains(err.Error(), "3.1.0") || !strings.Contains(err.Error(), "2.54.1") {
		t.Errorf("error %v", err)
	}
	here = "2.55.0"
	sourcetest.Must(t, s.open(t).Stage(t.Context(), r, e))
}

// TestForgottenSnapshotIsRemoved: a crash leaves one, whose name may not be
// known; a person's own stay.
func TestForgottenSnapshotIsRemoved(t *testing.T) {
	at := time.Date(2026, 2, 3, 4, 5, 6, 700, time.UTC)
	for name, note := range map[string]snapshotNote{
		"named":   {Begun: at, Name: "20260203T040507Z-1a"},
		"unnamed": {Begun: at},
	} {
		s := newStandIn(t)
		p := s.open(t)
		for _, dir := range []string{"20260203T040507Z-1a", "20260203T030507Z-2b", "20260203T050507Z-3c", "mine"} {
			sourcetest.Must(t, os.MkdirAll(filepath.Join(p.snapshots.dir(), dir, "block"), 0o755))
		}
		sourcetest.Must(t, p.snapshots.note(note))
		sourcetest.Must(t, p.snapshots.sweep(t.Context()))
		sourcetest.Must(t, p.snapshots.sweep(t.Context()))
		left, err := os.ReadDir(p.snapshots.dir())
		sourcetest.Must(t, err)
		if len(left) != 3 || left[0].Name() != "20260203T030507Z-2b" {
			t.Errorf("%s: left %v", name, left)
		}
	}
}

func TestPrometheusConfigMistakes(t *testing.T) {
	good := newStandIn(t).cfg
	for name, change := range map[string]func(*Config){
		"url without scheme": func(c *Config) { c.URL = "127.0.0.1:9090" },
		"url with password":  func(c *Config) { c.URL = "http://u:s3cret@[" },
		"no stop":            func(c *Config) { c.Stop = nil },
		"no start":           func(c *Config) { c.Start = nil },
		"relative data_dir":  func(c *Config) { c.DataDir = "data" },
		"no scratch":         func(c *Config) { c.Scratch = "" },
	} {
		cfg := good
		change(&cfg)
		if _, err := New("metrics", cfg); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

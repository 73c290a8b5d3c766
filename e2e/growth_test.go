package e2e

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/e2e/server"
)

// fleet is agents at default settings on this machine, with a bucket on a MinIO server.
type fleet struct {
	tb     testing.TB
	bucket string
	env    []string
	key    string // file
}

func newFleet(tb testing.TB) *fleet {
	tb.Helper()
	store := server.MinIO(tb)
	f := &fleet{tb: tb, bucket: store.NewBucket(tb), env: store.Env(), key: filepath.Join(tb.TempDir(), "key")}
	key, err := exec.CommandContext(tb.Context(), shippedBin(), "key", "generate").Output()
	f.must(err)
	f.must(os.WriteFile(f.key, key, 0o600))
	return f
}

func (f *fleet) must(err error) {
	f.tb.Helper()
	if err != nil {
		f.tb.Fatal(err)
	}
}

// member is one agent of a fleet.
type member struct {
	*fleet
	dir   string
	env   []string
	agent *exec.Cmd

	mu    sync.Mutex
	lines map[string]time.Time // of the log: when a message came
	news  chan struct{}        // closed and made anew when one comes
}

func (f *fleet) member(name string) *member {
	f.tb.Helper()
	m := &member{fleet: f, dir: filepath.Join(f.tb.TempDir(), name), lines: make(map[string]time.Time), news: make(chan struct{})}
	f.must(os.MkdirAll(filepath.Join(m.dir, "state"), 0o700))
	config := filepath.Join(m.dir, "understudy.yaml")
	f.must(os.WriteFile(config, fmt.Appendf(nil, "sources:\n  - {name: state, directory: {path: %q}}\n", filepath.Join(m.dir, "state")), 0o600))
	address := server.FreeAddress(f.tb)
	m.env = append(append(os.Environ(), f.env...),
		"UNDERSTUDY_BUCKET="+f.bucket, "UNDERSTUDY_KEY_FILE="+f.key, "UNDERSTUDY_INSTANCE="+name,
		"UNDERSTUDY_LISTEN="+address, "UNDERSTUDY_URL=http://"+address,
		"UNDERSTUDY_DATA_DIR="+filepath.Join(m.dir, "data"), "UNDERSTUDY_CONFIG="+config, "UNDERSTUDY_ENVIRONMENT_FILE=none")
	return m
}

func (m *member) run(args ...string) {
	m.tb.Helper()
	cmd := exec.CommandContext(m.tb.Context(), shippedBin(), args...)
	cmd.Env = m.env
	if out, err := cmd.CombinedOutput(); err != nil {
		m.tb.Fatalf("understudy %v: %v\n%s", args, err, out)
	}
}

func (m *member) serve() {
	m.tb.Helper()
	m.agent = exec.CommandContext(context.WithoutCancel(m.tb.Context()), shippedBin(), "serve")
	m.agent.Env = m.env
	out, in, err := os.Pipe()
	m.must(err)
	m.agent.Stdout, m.agent.Stderr = in, in
	ended := make(chan struct{})
	m.must(server.Start(m.agent, syscall.SIGKILL, func(error) { close(ended) }))
	m.must(in.Close())
	go m.read(out)
	m.tb.Cleanup(func() {
		_ = m.agent.Process.Signal(syscall.SIGTERM) // it may have ended
		<-ended
	})
}

// read takes in the agent's log.
func (m *member) read(log io.ReadCloser) {
	defer log.Close()
	for lines := bufio.NewScanner(log); lines.Scan(); {
		now := time.Now()
		_, text, _ := strings.Cut(lines.Text(), " msg=")
		m.mu.Lock()
		m.lines[text] = now
		close(m.news)
		m.news = make(chan struct{})
		m.mu.Unlock()
	}
}

// saw waits until the log has said something, and returns when that was.
func (m *member) saw(what string) time.Time {
	m.tb.Helper()
	late := time.After(patience)
	for {
		m.mu.Lock()
		for text, at := range m.lines {
			if strings.Contains(text, what) {
				m.mu.Unlock()
				return at
			}
		}
		news := m.news
		m.mu.Unlock()
		select {
		case <-news:
		case <-late:
			m.tb.Fatalf("the agent has not said %q", what)
		}
	}
}

// processorTime is how long the agent has had a processor.
func (m *member) processorTime() time.Duration {
	m.tb.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", m.agent.Process.Pid))
	m.must(err)
	var all time.Duration
	for _, thread := range threads {
		if text, err := os.ReadFile(thread); err == nil { // it may have ended
			n, err := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
			m.must(err)
			all += time.Duration(n)
		}
	}
	return all
}

// memory reads a line of the kernel's, in MiB.
func (m *member) memory(line string) float64 {
	m.tb.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.agent.Process.Pid))
	m.must(err)
	_, rest, _ := strings.Cut(string(status), line+":")
	kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	m.must(err)
	return kib / 1024
}

// idleFor is how long idle agents are watched: twelve polls, and two of what is done
// once a minute.
const idleFor = 2 * time.Minute

// idle lets time pass, in which what agents take is measured.
func idle(d time.Duration) { <-time.After(d) }

// BenchmarkIdleAgent reports what an active takes that has nothing to do but to poll, at
// default settings: time to be ready, resident memory (its own, and pages of the
// program), and the share of a processor.
func BenchmarkIdleAgent(b *testing.B) {
	for b.Loop() {
		f := newFleet(b)
		m := f.member("a")
		m.run("init")
		began := time.Now()
		m.serve()
		b.ReportMetric(float64(m.saw(`"agent started"`).Sub(began).Microseconds())/1e3, "ready-ms")
		b.ReportMetric(float64(m.processorTime().Microseconds())/1e3, "ready-processor-ms")
		m.saw("is published")
		idle(40 * time.Second) // the start counts as over after 30
		b.ReportMetric(m.memory("VmHWM"), "peak-MiB")
		before := m.processorTime()
		idle(idleFor)
		b.ReportMetric(100*(m.processorTime()-before).Seconds()/idleFor.Seconds(), "idle-%-of-a-processor")
		b.ReportMetric(m.memory("VmRSS"), "resident-MiB")
		b.ReportMetric(m.memory("RssAnon"), "of-which-own-MiB")
	}
}

// BenchmarkGrowthOfStandbys has ever more standbys on one machine, and reports how long
// it takes from the publication of a backup of 1 MB until the last of them has it
// verified in its cache, and for the middle one; and what the active takes for a poll
// while nothing happens: requests, by the kinds that providers bill, and processor.
func BenchmarkGrowthOfStandbys(b *testing.B) {
	for _, standbys := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("standbys=%d", standbys), func(b *testing.B) {
			for b.Loop() {
				growStandbys(b, standbys)
			}
		})
	}
}

func growStandbys(b *testing.B, n int) {
	b.Helper()
	f := newFleet(b)
	active := f.member("active")
	dear, cheap := count(b, active)
	active.run("init")
	active.serve()
	active.saw("is published")
	standbys := make([]*member, n)
	for i := range standbys {
		standbys[i] = f.member(fmt.Sprintf("standby-%03d", i))
		standbys[i].run("join")
		standbys[i].serve()
	}
	for _, s := range standbys {
		s.saw("is cached")
	}
	idle(40 * time.Second)
	var last, middle []time.Duration
	for range 5 {
		l, m := pass(active, standbys)
		last, middle = append(last, l), append(middle, m)
	}
	slices.Sort(last)
	slices.Sort(middle)
	b.ReportMetric(float64(last[2].Microseconds())/1e3, "published-to-last-ms")
	b.ReportMetric(float64(middle[2].Microseconds())/1e3, "published-to-middle-ms")
	idle(time.Minute) // they rehearse it
	dear.Store(0)
	cheap.Store(0)
	before := active.processorTime()
	idle(idleFor)
	polls := idleFor.Seconds() / 10
	b.ReportMetric(float64(dear.Load())/polls, "active-PUT-LIST/poll")
	b.ReportMetric(float64(cheap.Load())/polls, "active-GET/poll")
	b.ReportMetric(float64((active.processorTime()-before).Microseconds())/1e3/polls, "active-processor-ms/poll")
}

// pass makes a backup of 1 MB that is new, and returns how long after its publication the
// last standby had it, and the middle one.
func pass(active *member, standbys []*member) (last, middle time.Duration) {
	active.tb.Helper()
	data := make([]byte, 1<<20)
	_, _ = rand.Read(data) // never fails
	active.must(os.WriteFile(filepath.Join(active.dir, "state", "file"), data, 0o600))
	cmd := exec.CommandContext(active.tb.Context(), shippedBin(), "backup", "--json")
	cmd.Env = active.env
	out, err := cmd.Output()
	active.must(err)
	_, id, _ := strings.Cut(string(out), `"id": "`)
	id, _, _ = strings.Cut(id, `"`)
	published := active.saw("backup " + id + " is published")
	var took []time.Duration
	for _, s := range standbys {
		took = append(took, s.saw("backup "+id+" is cached").Sub(published))
	}
	slices.Sort(took)
	return took[len(took)-1], took[len(took)/2]
}

// count has a member ask its bucket through a proxy that counts its requests.
func count(b *testing.B, m *member) (dear, cheap *atomic.Int64) {
	b.Helper()
	bucket, err := url.Parse(m.bucket)
	m.must(err)
	query := bucket.Query()
	upstream, err := url.Parse(query.Get("endpoint"))
	m.must(err)
	dear, cheap = new(atomic.Int64), new(atomic.Int64)
	// The host's name is part of what is signed.
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(upstream); r.Out.Host = r.In.Host }, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch list := r.URL.Query().Has("list-type"); {
		case r.Method == http.MethodPut, r.Method == http.MethodPost, list:
			dear.Add(1)
		case r.Method != http.MethodDelete:
			cheap.Add(1)
		}
		proxy.ServeHTTP(w, r)
	}))
	b.Cleanup(front.Close)
	query.Set("endpoint", front.URL)
	bucket.RawQuery = query.Encode()
	m.env = append(m.env, "UNDERSTUDY_BUCKET="+bucket.String())
	return dear, cheap
}

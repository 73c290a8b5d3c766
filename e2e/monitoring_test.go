package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/e2e/server"
)

// monitored is the sample application with what measures it.
type monitored struct {
	*sample
	prometheus *server.PrometheusServer // scrapes here, and federates
	history    *server.PrometheusServer // is backed up, and stopped for a swap
	targets    string                   // the file that the agent writes
	agents     string                   // the file that names the agent
	measured   atomic.Bool              // the application answers scrapes
}

// newMonitored starts the servers of a host. The one's configuration is that of
// docs/monitoring.md.
func newMonitored(t *testing.T, dir, name, past string) *monitored {
	t.Helper()
	m := &monitored{targets: filepath.Join(dir, name+"-federate.json"), agents: filepath.Join(dir, name+"-agents.json")}
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !m.measured.Load() {
			http.Error(w, "the application is not here", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintf(w, "sample_value{host=%q} 42\n", name)
	}))
	t.Cleanup(endpoint.Close)
	m.prometheus = server.Prometheus(t, fmt.Sprintf(`
global: {scrape_interval: 500ms}
scrape_configs:
  - {job_name: sample, static_configs: [{targets: [%q]}]}
  - {job_name: understudy, file_sd_configs: [{files: [%q]}]}
  - job_name: federate
    honor_labels: true
    metrics_path: /federate
    params:
      'match[]': ['{job="sample"}']
    file_sd_configs:
      - files: [%q]
`, endpoint.Listener.Addr(), m.agents, m.targets))
	m.history = server.Prometheus(t, "", "--web.enable-admin-api")
	m.history.WritePast(t, past, time.Now().Add(-10*24*time.Hour))
	return m
}

func (m *monitored) config() string {
	history := fmt.Sprintf("  - {name: metrics, prometheus: {url: %q, data_dir: %q, stop: [%s], start: [%s]}}\n",
		m.history.URL(), m.history.DataDir, strings.Join(m.history.StopCommand(), ", "), strings.Join(m.history.StartCommand(), ", "))
	return strings.Replace(m.sample.config(), "sources:\n", "sources:\n"+history, 1) +
		fmt.Sprintf("prometheus: {targets_file: %q, address: %q}\n", m.targets, m.prometheus.Address)
}

// finds waits until a server answers a query with so many samples.
func finds(t *testing.T, p *server.PrometheusServer, query string, want int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d of %s", want, query), func() error {
		found, err := p.Query(t.Context(), query)
		if err == nil && len(found) != want {
			err = fmt.Errorf("found %v", found)
		}
		return err
	})
}

// TestMetricsFollowAPromotion: a standby's Prometheus federates the active's,
// and after a promotion the other way about, without a restart of either; what
// was measured on the active long before is found on its successor.
func TestMetricsFollowAPromotion(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "file://"+t.TempDir(), nil)
	var apps []*monitored
	var hosts []*host
	for _, name := range []string{"host-a", "host-b"} {
		m := newMonitored(t, c.dir, name, "past_of_"+strings.ReplaceAll(name, "-", "_"))
		m.sample = &sample{dir: filepath.Join(c.dir, name+"-app"), ledger: filepath.Join(c.dir, "ledger"), every: 100 * time.Millisecond}
		for _, sub := range []string{"uploads", "static"} {
			if err := os.MkdirAll(filepath.Join(m.dir, sub), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		h := c.host(name, m)
		listen := ""
		for _, v := range h.env {
			if address, ok := strings.CutPrefix(v, "UNDERSTUDY_LISTEN="); ok {
				listen = address
			}
		}
		if err := os.WriteFile(m.agents, fmt.Appendf(nil, `[{"targets": [%q]}]`, listen), 0o644); err != nil {
			t.Fatal(err)
		}
		apps, hosts = append(apps, m), append(hosts, h)
	}
	a, b := hosts[0], hosts[1]
	one, two := apps[0], apps[1]
	one.do(t, "start")
	one.measured.Store(true)
	a.run("init")
	a.serve()
	a.is("active")
	b.run("join")
	b.serve()
	b.is("in sync")

	finds(t, one.prometheus, `sample_value{host="host-a", job="sample"}`, 1)
	finds(t, two.prometheus, `sample_value{host="host-a", job="sample"}`, 1) // its labels are the active's
	finds(t, two.prometheus, `up{job="federate"} == 1`, 1)
	finds(t, one.prometheus, `up{job="federate"}`, 0)
	finds(t, one.prometheus, `understudy_leading == 1`, 1)
	finds(t, two.prometheus, `understudy_standby_lag_seconds{name="host-b"}`, 1)
	before := []int{one.prometheus.PID(t), two.prometheus.PID(t)}

	b.run("promote", "--yes")
	one.measured.Store(false)
	two.measured.Store(true)
	finds(t, one.prometheus, `sample_value{host="host-b", job="sample"}`, 1)
	finds(t, one.prometheus, `up{job="federate"} == 1`, 1)
	finds(t, two.prometheus, `up{job="federate"}`, 0)
	finds(t, two.prometheus, `sample_value{host="host-b"}`, 1)
	finds(t, two.prometheus, `understudy_leading == 1`, 1)
	if after := []int{one.prometheus.PID(t), two.prometheus.PID(t)}; after[0] != before[0] || after[1] != before[1] {
		t.Errorf("Prometheus was restarted: processes %v, then %v", before, after)
	}
	finds(t, two.history, `count_over_time(past_of_host_a[20d])`, 10)
	finds(t, two.history, `count_over_time(past_of_host_b[20d])`, 0)
	b.eventually("the swap is final", func() error {
		if left, _ := filepath.Glob(filepath.Join(filepath.Dir(two.history.DataDir), ".*understudy*")); len(left) > 0 {
			return errors.New(strings.Join(left, " "))
		}
		return nil
	})
}

package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	prometheusBinary = "e2e/tools/bin/prometheus"
	promtoolBinary   = "e2e/tools/bin/promtool"
)

// prometheusScript starts and stops a server from whatever process runs it, as
// systemctl would; either is idempotent. A watchdog ends the server once the
// test process is gone.
const prometheusScript = `#!/bin/sh
set -eu
cd "$(dirname "$0")"
runs() { [ -s pid ] && kill -0 "$(cat pid)" 2>/dev/null; }
case $1 in
start)
	runs && exit
	setsid sh -c '
		"$@" >>log 2>&1 &
		server=$!
		echo $server >pid.part && mv pid.part pid
		while kill -0 %[1]d 2>/dev/null && kill -0 $server 2>/dev/null; do sleep 0.2; done
		kill -9 $server 2>/dev/null
	' sh %[2]s </dev/null >/dev/null 2>&1 &
	watchdog=$!
	until runs; do kill -0 $watchdog; sleep 0.02; done ;;
stop)
	runs || { rm -f pid; exit; }
	kill "$(cat pid)"
	while runs; do sleep 0.02; done
	rm -f pid ;;
esac
`

// PrometheusServer is a Prometheus server.
type PrometheusServer struct {
	// Address is its host and port, for plain HTTP.
	Address string
	// DataDir is where its blocks lie.
	DataDir string

	dir string
}

// Prometheus starts a server for one test, with the text of its configuration
// and flags of its own besides.
func Prometheus(tb testing.TB, config string, flags ...string) *PrometheusServer {
	tb.Helper()
	p, err := newPrometheus(config, flags)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.remove)
	return p
}

// StopCommand and StartCommand stop and start the server from any process.
func (p *PrometheusServer) StopCommand() []string { return []string{p.script(), "stop"} }

// StartCommand starts what StopCommand has stopped.
func (p *PrometheusServer) StartCommand() []string { return []string{p.script(), "start"} }

// URL is where the server answers.
func (p *PrometheusServer) URL() string { return "http://" + p.Address }

// Stop ends the server in an orderly way; its data and port stay its own.
func (p *PrometheusServer) Stop(tb testing.TB) {
	tb.Helper()
	if err := p.run("stop"); err != nil {
		tb.Fatal(err)
	}
}

// Start starts a stopped server again, and waits until it is ready.
func (p *PrometheusServer) Start(tb testing.TB) {
	tb.Helper()
	if err := p.start(); err != nil {
		tb.Fatal(err)
	}
}

// Sample is one value of a query's answer.
type Sample struct {
	Labels map[string]string `json:"metric"`
	// Value is its time and its value, as Prometheus writes it.
	Value [2]any `json:"value"`
}

// Query asks for an instant vector.
func (p *PrometheusServer) Query(ctx context.Context, query string) ([]Sample, error) {
	var answer struct {
		Data struct {
			Result []Sample `json:"result"`
		} `json:"data"`
	}
	err := p.get(ctx, "/api/v1/query?query="+url.QueryEscape(query), &answer)
	return answer.Data.Result, err
}

func (p *PrometheusServer) get(ctx context.Context, path string, answer any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL()+path, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, resp.Status)
	}
	if answer == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}

// Promtool runs promtool on an input, and gives what it prints.
func Promtool(tb testing.TB, input string, args ...string) (string, error) {
	tb.Helper()
	tool, err := findTool(promtoolBinary)
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.CommandContext(tb.Context(), tool, args...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func newPrometheus(config string, flags []string) (*PrometheusServer, error) {
	binary, err := findTool(prometheusBinary)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "prometheus-")
	if err != nil {
		return nil, fmt.Errorf("create data folder: %w", err)
	}
	p := &PrometheusServer{DataDir: filepath.Join(dir, "data"), dir: dir}
	err = os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o644)
	if err == nil {
		err = onFreePort(func(port int) error {
			p.Address = fmt.Sprintf("127.0.0.1:%d", port)
			if err := p.writeScript(binary, flags); err != nil {
				return err
			}
			return p.start()
		})
	}
	if err != nil {
		p.remove()
		return nil, fmt.Errorf("start Prometheus: %w", err)
	}
	return p, nil
}

func (p *PrometheusServer) script() string { return filepath.Join(p.dir, "prometheus.sh") }

func (p *PrometheusServer) writeScript(binary string, flags []string) error {
	args := fmt.Sprintf("%q --config.file=prometheus.yml --storage.tsdb.path=%q --web.listen-address=%s",
		binary, p.DataDir, p.Address)
	for _, flag := range flags {
		args += fmt.Sprintf(" %q", flag)
	}
	return os.WriteFile(p.script(), fmt.Appendf(nil, prometheusScript, os.Getpid(), args), 0o755)
}

func (p *PrometheusServer) run(verb string) error {
	out, err := exec.CommandContext(context.Background(), p.script(), verb).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s Prometheus: %w\n%s", verb, err, out)
	}
	return nil
}

func (p *PrometheusServer) start() error {
	if err := p.run("start"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := p.get(ctx, "/-/ready", nil)
		if err == nil {
			return nil
		}
		if pid, err := p.pid(); err != nil || !alive(pid) {
			return fmt.Errorf("prometheus: %w\n%s", errEnded, p.tail())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("prometheus is not ready after %s: %w\n%s", startTimeout, err, p.tail())
		}
	}
}

// PID is the id of the server's process.
func (p *PrometheusServer) PID(tb testing.TB) int {
	tb.Helper()
	pid, err := p.pid()
	if err != nil {
		tb.Fatal(err)
	}
	return pid
}

func (p *PrometheusServer) pid() (int, error) {
	text, err := os.ReadFile(filepath.Join(p.dir, "pid"))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// WritePast gives the server's history a block with ten series of a metric that
// begin at the time given. It is restarted for that.
func (p *PrometheusServer) WritePast(tb testing.TB, metric string, at time.Time) {
	tb.Helper()
	p.Stop(tb)
	var text strings.Builder
	fmt.Fprintf(&text, "# TYPE %s gauge\n", metric)
	for i := range 100 {
		fmt.Fprintf(&text, "%s{n=\"%d\"} %d %d\n", metric, i%10, i, at.Unix()+int64(i))
	}
	text.WriteString("# EOF\n")
	file := filepath.Join(p.dir, "past")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		tb.Fatal(err)
	}
	if out, err := Promtool(tb, "", "tsdb", "create-blocks-from", "openmetrics", file, p.DataDir); err != nil {
		tb.Fatalf("write the past: %v\n%s", err, out)
	}
	p.Start(tb)
}

// tail returns the end of the server's output.
func (p *PrometheusServer) tail() string { return (&process{log: filepath.Join(p.dir, "log")}).tail() }

func (p *PrometheusServer) remove() {
	_ = errors.Join(p.run("stop"), os.RemoveAll(p.dir)) // a leftover in the temporary folder harms no test
}

// PrometheusPrograms are the paths of the server's program and of promtool.
func PrometheusPrograms(tb testing.TB) (prometheus, promtool string) {
	tb.Helper()
	prometheus, err := findTool(prometheusBinary)
	if err == nil {
		promtool, err = findTool(promtoolBinary)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return prometheus, promtool
}

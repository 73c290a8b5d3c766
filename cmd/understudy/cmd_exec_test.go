package main

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/cmd/understudy/sample"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/report"
)

func TestExecRefusesWhatItCannotRun(t *testing.T) {
	h := newTestHosts(t, "host-a")[0]
	h.run("init")
	h.fails(exit.Usage, "see: understudy exec --help", "exec")
	h.fails(exit.Usage, "unknown flag: --fast", "exec", "--fast", "--", "true")
	h.fails(exit.Usage, "no-such-program", "exec", "--", "no-such-program")
	text, err := os.ReadFile(h.path("understudy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	h.write("understudy.yaml", string(text)+"hooks: {promote: [\"true\"]}\n")
	h.fails(exit.Usage, "take the hooks out, or use understudy serve", "exec", "true", "--fast")
}

// TestExec runs the program as it is shipped, with the sample application.
func TestExec(t *testing.T) {
	dir := t.TempDir()
	bin := filepath.Join(dir, "understudy")
	build := exec.CommandContext(t.Context(), "go", "build", "-race", "-o", bin, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the program: %v\n%s", err, out)
	}
	for name, test := range map[string]func(t *testing.T, bin string){
		"runs the application on the active alone": execSwitchover,
		"leaves nothing when it is killed":         execKilled,
		"keeps the bound when it is stopped":       execStopped,
		"starts again what crashes":                execCrashes,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, bin)
		})
	}
}

// execHost is a host whose agent is a process that runs the application.
type execHost struct {
	*testHost
	bin    string
	cmd    *exec.Cmd
	output *output
	done   chan struct{}
}

func newExecHosts(t *testing.T, bin string, names ...string) []*execHost {
	t.Helper()
	var hosts []*execHost
	for i, h := range newTestHosts(t, names...) {
		h.write("understudy.yaml", "sources:\n"+
			"  - {name: db, sqlite: {path: "+h.path("app/sample.db")+"}}\n"+
			"  - {name: uploads, directory: {path: "+h.path("app/uploads")+"}}\n")
		if i == 0 {
			h.app(t, bin, "start")
			h.until("the application has written", func() bool { return h.check(t, bin).Rows > 0 })
			h.app(t, bin, "stop")
			h.run("init")
		} else {
			h.write("app/uploads/of-its-own", "")
			h.run("join")
		}
		hosts = append(hosts, &execHost{testHost: h, bin: bin})
	}
	return hosts
}

// appCommand is a subcommand of the sample application, on this host's state.
// The hosts share the ledger.
func (h *testHost) appCommand(bin, verb string) []string {
	return []string{
		bin, "demo", "app", verb, "--data", h.path("app"), "--run-dir", h.path("run"), "--ledger", filepath.Join(h.dir, "..", "ledger"),
	}
}

func (h *testHost) app(t *testing.T, bin, verb string) []byte {
	t.Helper()
	argv := h.appCommand(bin, verb)
	out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && verb != "check" {
		t.Fatalf("%s: %v: %s", verb, err, exit.Stderr)
	}
	return out
}

func (h *testHost) check(t *testing.T, bin string) sample.Findings {
	t.Helper()
	var f sample.Findings
	if err := json.Unmarshal(h.app(t, bin, "check"), &f); err != nil {
		t.Fatalf("%s: check: %v", h.dir, err)
	}
	return f
}

// runs reports whether the application runs: as long as it does it holds a
// lock.
func (h *execHost) runs() bool {
	argv := h.appCommand(h.bin, "status")
	err := exec.Command(argv[0], argv[1:]...).Run()
	return err == nil
}

// exec starts the agent with an application: the sample where none is given.
func (h *execHost) exec(command ...string) {
	h.t.Helper()
	if len(command) == 0 {
		command = h.appCommand(h.bin, "run")
	}
	h.cmd = exec.Command(h.bin, append([]string{"exec", "--"}, command...)...)
	for name, value := range h.env {
		h.cmd.Env = append(h.cmd.Env, name+"="+value)
	}
	h.cmd.Env = append(h.cmd.Env, "PATH="+os.Getenv("PATH"), "GORACE=halt_on_error=1 atexit_sleep_ms=0")
	h.output, h.done = &output{}, make(chan struct{})
	h.cmd.Stdout, h.cmd.Stderr = h.output, h.output
	h.cmd.WaitDelay = 30 * time.Second
	if err := h.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	cmd, done := h.cmd, h.done
	go func() {
		_ = cmd.Wait() // how it ended is asked of the process's state
		close(done)
	}()
	h.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
		if h.t.Failed() {
			h.t.Logf("%s printed:\n%s", h.dir, h.output)
		}
	})
	h.until("answers", func() bool {
		_, _, code := understudy(h.t, h.env, "status")
		return code == exit.Done
	})
}

func (h *execHost) signal(s syscall.Signal) {
	h.t.Helper()
	if err := h.cmd.Process.Signal(s); err != nil {
		h.t.Fatal(err)
	}
}

func (h *execHost) status() report.Status {
	h.t.Helper()
	return ask[report.Status](h.testHost, "status")
}

// fence makes the cluster's bounds short.
func (h *execHost) fence() {
	h.t.Helper()
	for _, kv := range [][2]string{{"stop_timeout", "3s"}, {"margin", "1s"}, {"ttl", "8s"}, {"fencing", "strict"}} {
		h.run("config", "set", kv[0], kv[1])
	}
}

func execSwitchover(t *testing.T, bin string) {
	hosts := newExecHosts(t, bin, "host-a", "host-b")
	a, b := hosts[0], hosts[1]
	a.exec()
	b.exec()
	a.until("the application runs", a.runs)
	ref := ask[backup.Ref](a.testHost, "backup")
	b.caches(ref.ID)
	if b.runs() {
		t.Fatal("the application runs on a standby")
	}
	b.run("promote", "--yes")
	if a.runs() {
		t.Error("the application still runs on the old active")
	}
	b.until("the application runs", b.runs)
	if f := b.check(t, bin); f.Ledger == nil || f.Ledger.Missing > 0 || len(f.Problems) > 0 {
		t.Errorf("after the switchover: %+v %+v", f, f.Ledger)
	}
	b.signal(syscall.SIGTERM)
	<-b.done
	if code := b.cmd.ProcessState.ExitCode(); code != exit.Done || b.runs() {
		t.Errorf("the agent ended with %d, and the application runs: %t", code, b.runs())
	}
	if !strings.Contains(b.output.String(), "sample: serving on") {
		t.Errorf("the application's output is not in the agent's")
	}
}

func execKilled(t *testing.T, bin string) {
	a := newExecHosts(t, bin, "host-a")[0]
	a.exec()
	a.until("the application runs", a.runs)
	a.signal(syscall.SIGKILL)
	a.until("the application has stopped", func() bool { return !a.runs() })
	<-a.done
	a.exec()
	a.until("the application runs again", func() bool { return a.runs() && a.status().App == "running" })
	if f := a.check(t, bin); f.Ledger.Missing > 0 || len(f.Problems) > 0 {
		t.Errorf("after the crash: %+v", f)
	}
}

// execStopped stops the agent beyond the bound of strict fencing, as a
// debugger or a starved machine would.
func execStopped(t *testing.T, bin string) {
	a := newExecHosts(t, bin, "host-a")[0]
	a.exec()
	a.until("the application runs", a.runs)
	a.fence()
	a.until("the application runs", a.runs)
	a.signal(syscall.SIGSTOP)
	stopped := time.Now()
	a.until("the application has stopped", func() bool { return !a.runs() })
	if took := time.Since(stopped); took > 7*time.Second {
		t.Errorf("it had stopped after %v: a successor may count on 7s", took)
	}
	a.signal(syscall.SIGCONT)
	a.until("the application runs again", func() bool { return a.runs() && a.status().App == "running" })
}

func execCrashes(t *testing.T, bin string) {
	a := newExecHosts(t, bin, "host-a")[0]
	lives := a.path("lives")
	a.exec("sh", "-c", `echo life >>`+lives+`; echo "my words"; exit 7`)
	a.until("it was started again", func() bool {
		text, _ := os.ReadFile(lives)
		return strings.Count(string(text), "life") >= 3
	})
	var s report.Status
	a.until("it is shown as down", func() bool {
		s = a.status()
		return s.App == "down"
	})
	if s.Healthy || !strings.Contains(s.AppError, "it ended by itself (exit status 7)") || s.Role != ha.RoleActive || s.Epoch != 1 {
		t.Errorf("status %+v", s.Status)
	}
	a.until("the check fails", func() bool { // while it is down: it is started again meanwhile
		_, _, code := understudy(t, a.env, "status", "--check")
		return code == exit.Failed
	})
	alarmed := false
	for _, e := range ask[[]event.Event](a.testHost, "events") {
		if e.Level == event.Alarm && strings.Contains(e.Text, "the application is down") {
			alarmed = true
		}
	}
	if !alarmed {
		t.Errorf("no alarm among the events: %s", a.run("events"))
	}
	a.signal(syscall.SIGTERM)
	<-a.done
	if !strings.Contains(a.output.String(), "\nmy words\n") {
		t.Errorf("the application's output is not in the agent's")
	}
}

package main

import (
	"context"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/report"
)

// TestTheLinesForApplicationsWork runs the shell lines of docs/applications.md
// as they stand there, but for where the agent is.
func TestTheLinesForApplicationsWork(t *testing.T) {
	page, err := os.ReadFile("../../docs/applications.md")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		lines = append(lines, strings.Split(strings.TrimSpace(block[1]), "\n")...)
	}
	h := newTestHosts(t, "host-a")[0]
	listen, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listen.Addr().String()
	if err := listen.Close(); err != nil {
		t.Fatal(err)
	}
	h.env["UNDERSTUDY_LISTEN"], h.env["UNDERSTUDY_ADMIN_TOKEN"] = address, "correct horse battery staple"
	h.run("init")
	h.serve()
	h.until("it leads", func() bool { return ask[report.Status](h, "status").App == "running" })
	here := strings.NewReplacer("/var/lib/understudy/agent.sock", h.path("data/agent.sock"), "https://host-a:7878", "http://"+address)

	// What each line prints; a line that is new wants an entry.
	wants := map[string]string{
		`"wait":true`:                              `"state":"published"`,
		`Bearer $UNDERSTUDY_ADMIN`:                 `"state":"accepted"`,
		`"monthly import finished"}' http://agent`: `"state":"accepted"`,
		`-fsS --unix-socket /var/lib/understudy/agent.sock http://agent/leader`: `"leading":true`,
		`until curl`:        ``,
		`text/event-stream`: `"text":"active in epoch 1"`,
	}
	seen := make(map[string]bool)
	for _, line := range lines {
		known := false
		for part, want := range wants {
			if !strings.Contains(line, part) {
				continue
			}
			known, seen[part] = true, true
			if out, err := h.shell(here.Replace(line), want); err != nil {
				t.Errorf("%s\n%v: %s", line, err, out)
			}
			break
		}
		if !known {
			t.Errorf("nothing is known of what this prints: %s", line)
		}
	}
	for part := range wants {
		if !seen[part] {
			t.Errorf("no line has %s", part)
		}
	}
	for _, b := range ask[[]control.BackupInfo](h, "backups") {
		if b.Trigger == "task" && (b.By == "" || b.Reason == "") {
			t.Errorf("a backup for a task, asked for by %q because %q", b.By, b.Reason)
		}
	}
}

// shell runs a line until it ends, or has printed what is wanted: some go on.
func (h *testHost) shell(line, want string) (string, error) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", "exec 2>&1\n"+line)
	cmd.Env = append(os.Environ(), "UNDERSTUDY_ADMIN_TOKEN="+h.env["UNDERSTUDY_ADMIN_TOKEN"])
	pipe, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return "", err
	}
	var out strings.Builder
	found := want == ""
	for buffer := make([]byte, 4096); err == nil; {
		var n int
		n, err = pipe.Read(buffer)
		out.Write(buffer[:n])
		if want != "" && strings.Contains(out.String(), want) {
			found = true
			break
		}
	}
	if found && want != "" {
		cancel() // a stream goes on by itself
		_ = cmd.Wait()
		return out.String(), nil
	}
	err = cmd.Wait()
	if err == nil && !found {
		err = &missingError{want}
	}
	return out.String(), err
}

type missingError struct{ want string }

func (e *missingError) Error() string { return "it does not print " + e.want }

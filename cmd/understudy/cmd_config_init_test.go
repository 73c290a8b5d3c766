package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/ha/control"
)

// systemctlOf puts a systemctl into the path that knows one unit, with these properties.
func systemctlOf(t *testing.T, unit, properties string) {
	t.Helper()
	dir := t.TempDir()
	script := "#!/bin/sh\ncase \"$1 $*\" in\n" +
		"*list-units*) echo '" + unit + " loaded active running An application'; echo 'ssh.service loaded active running SSH' ;;\n" +
		"*\"-- " + unit + "\") printf '%s\\n' '" + strings.ReplaceAll(properties, "\n", "' '") + "' ;;\n" +
		"*) echo LoadState=not-found ;;\nesac\n"
	if err := os.WriteFile(filepath.Join(dir, "systemctl"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
}

// What is written loads, and is what a backup can be made of.
func TestConfigInitWritesWhatItFinds(t *testing.T) {
	h := newTestHosts(t, "host-a")[0]
	h.run("init") // which has SQLite's locks made its own before a first database is opened
	h.write("srv/uploads/one", "an upload")
	h.write("srv/note.txt", "a file")
	makeDatabase(t, h.path("srv/app.db"))
	makeDatabase(t, h.path("app/inner.db"))
	systemctlOf(t, "myapp.service", "LoadState=loaded\nFragmentPath=/etc/systemd/system/myapp.service\nUnitFileState=enabled\nWorkingDirectory="+h.path("app"))
	h.env["UNDERSTUDY_CONFIG"] = h.path("etc/new.yaml")
	h.fails(exit.Usage, "systemd knows no unit nope.service", "config", "init", "--unit", "nope")
	h.fails(exit.Usage, "/nowhere", "config", "init", "/nowhere")
	printed := h.run("config", "init", "--print", "--unit", "myapp")
	if _, err := os.Lstat(h.path("etc/new.yaml")); err == nil {
		t.Error("--print wrote a file")
	}
	made := ask[discoveredJSON](h, "config", "init", "--unit", "myapp", h.path("srv/uploads"), h.path("srv/app.db"), h.path("srv/note.txt"))
	if slices.Sort(made.Sources); !slices.Equal(made.Sources, []string{"app", "app.db", "note.txt", "uploads"}) || !slices.Equal(made.Units, []string{"myapp.service"}) {
		t.Errorf("made %+v", made)
	}
	text, err := os.ReadFile(h.path("etc/new.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"sqlite:\n      path: " + h.path("srv/app.db"), "file:\n      path: " + h.path("srv/note.txt"), "promote: [systemctl, start, myapp.service]", "systemctl disable myapp.service", "inner.db"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if !strings.Contains(printed, "path: "+h.path("app")) {
		t.Errorf("printed %s", printed)
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "#") && len(line) > 100 {
			t.Errorf("a long comment: %s", line)
		}
	}
	h.fails(exit.Refused, "never overwritten", "config", "init", "--unit", "myapp")
	if again, err := os.ReadFile(h.path("etc/new.yaml")); err != nil || string(again) != string(text) {
		t.Errorf("it was overwritten: %v", err)
	}
	h.serve()
	if b := ask[control.BackupInfo](h, "backups", "show", ask[backup.Ref](h, "backup").ID); len(b.Sources) != 4 {
		t.Errorf("a backup of what was found: %+v", b.Sources)
	}
}

func TestConfigInitTakesTheServicesThatWereMadeHere(t *testing.T) {
	h := newTestHosts(t, "host-a")[0]
	h.env["UNDERSTUDY_CONFIG"] = h.path("etc/new.yaml")
	systemctlOf(t, "myapp.service", "LoadState=loaded\nFragmentPath=/etc/systemd/system/myapp.service\nUnitFileState=disabled\nWorkingDirectory="+h.path("app"))
	if out := h.run("config", "init", "--print"); !strings.Contains(out, "path: "+h.path("app")) || !strings.Contains(out, "start, myapp.service") || strings.Contains(out, "systemctl disable") {
		t.Errorf("printed %s", out)
	}
	systemctlOf(t, "distro.service", "LoadState=loaded\nFragmentPath=/lib/systemd/system/distro.service\nWorkingDirectory="+h.path("app"))
	if out, stderr, code := understudy(t, h.env, "config", "init"); code != exit.Failed || !strings.Contains(stderr, "--unit") {
		if !strings.Contains(out, "postgres") { // of a server that runs on this machine
			t.Errorf("a part of the system: exit %d: %s%s", code, out, stderr)
		}
	}
}

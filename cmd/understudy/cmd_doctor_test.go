package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/ha/application"
)

func TestDoctorSaysWhatWouldBreak(t *testing.T) {
	h := newTestHosts(t, "host-a")[0]
	results := func() map[string]result {
		out, stderr, _ := understudy(t, h.env, "doctor", "--json")
		var found []finding
		if err := json.Unmarshal([]byte(out), &found); err != nil {
			t.Fatalf("printed %s%s: %v", out, stderr, err)
		}
		all := map[string]result{}
		for _, f := range found {
			all[f.Name] = f.Result
		}
		return all
	}
	if r := results(); r["bucket"] != good || r["clock"] != good || r["cluster"] != warning || r["source files"] != good || r["hook demote"] != warning {
		t.Errorf("before init: %v", r)
	}
	h.run("init")
	h.run("doctor")
	if r := results(); r["cluster"] != good || r["key"] != good || r["data folder"] != good {
		t.Errorf("after init: %v", r)
	}
	other, _, _ := understudy(t, nil, "key", "generate")
	h.write("key", other)
	h.write("understudy.yaml", "sources:\n  - {name: files, directory: {path: /nowhere/at-all}}\nprometheus: {targets_file: /nowhere/f.json, address: 'a:1'}\nhooks: {promote: [no-such-program]}\n")
	if r := results(); r["key"] != bad || r["source files"] != bad || r["hook promote"] != bad || r["federation"] != warning {
		t.Errorf("broken: %v", r)
	}
	h.fails(exit.Bucket, "not be safe", "doctor")
}

func TestApplicationThatStartsAtBootIsFound(t *testing.T) {
	for name, tt := range map[string]struct {
		command []string
		state   string // what systemctl prints
		want    []result
	}{
		"enabled":     {[]string{"systemctl", "start", "myapp"}, "enabled", []result{bad}},
		"disabled":    {[]string{"sudo", "-n", "/usr/bin/systemctl", "--no-block", "start", "myapp", "worker"}, "disabled", []result{good, good}},
		"not known":   {[]string{"systemctl", "start", "myapp"}, "", []result{warning}},
		"no systemd":  {[]string{"myapp", "start"}, "enabled", nil},
		"not a start": {[]string{"systemctl", "reload", "myapp"}, "enabled", nil},
		"no hook":     {nil, "enabled", nil},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			script := "#!/bin/sh\n[ \"$1\" = is-enabled ] && echo " + tt.state + "\nexit 1\n"
			if err := os.WriteFile(filepath.Join(dir, "systemctl"), []byte(script), 0o700); err != nil {
				t.Fatal(err)
			}
			t.Setenv("PATH", dir+":/usr/bin:/bin")
			found := bootChecks(t.Context(), application.Hooks{Promote: application.Hook{Command: tt.command}})
			if len(found) != len(tt.want) {
				t.Fatalf("findings %+v, want %v", found, tt.want)
			}
			for i, f := range found {
				if f.Result != tt.want[i] {
					t.Errorf("finding %+v, want %s", f, tt.want[i])
				}
			}
		})
	}
}

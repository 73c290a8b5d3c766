package main

import (
	"encoding/json"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/cmd/understudy/settings"
)

func TestVersionSaysWhatWasBuilt(t *testing.T) {
	release, commit = "1.2.3", "0123abcd"
	t.Cleanup(func() { release, commit = "", "" })
	out, _, code := understudy(t, map[string]string{"UNDERSTUDY_POLL": "wrong"}, "version", "--json")
	var v versionJSON
	if err := json.Unmarshal([]byte(out), &v); err != nil || code != exit.Done || v.Version != "1.2.3" || v.Commit != "0123abcd" || v.Go != runtime.Version() || v.Platform != runtime.GOOS+"/"+runtime.GOARCH {
		t.Errorf("exit %d: %s: %v", code, out, err)
	}
	out, _, _ = understudy(t, nil, "version")
	if !strings.HasPrefix(out, "understudy 1.2.3\n") || !strings.Contains(out, "0123abcd") {
		t.Errorf("printed %s", out)
	}
	release, commit = "", "0123456789abcdef"
	for _, args := range [][]string{{"version"}, {"--version"}} {
		if out, _, _ := understudy(t, nil, args...); !strings.HasPrefix(out, "understudy devel-0123456789ab\n") {
			t.Errorf("%v of no release prints %s", args, out)
		}
	}
}

// A command's help says where the settings are, and does not list them.
func TestHelpListsTheSettingsOnce(t *testing.T) {
	for _, args := range [][]string{{"status", "--help"}, {"backups", "show", "--help"}, {"--help"}} {
		out, _, _ := understudy(t, nil, args...)
		if strings.Contains(out, "--tls-cert") || strings.Count(out, "understudy help settings") < 1 || strings.Contains(out, "Global Flags") {
			t.Errorf("%v:\n%s", args, out)
		}
	}
	out, _, _ := understudy(t, nil, "help", "settings")
	for _, name := range settings.Variables() {
		if !strings.Contains(out, name) {
			t.Errorf("%s is not in:\n%s", name, out)
		}
	}
	for _, line := range strings.Split(out, "\n") {
		if n := utf8.RuneCountInString(line); n > 200 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

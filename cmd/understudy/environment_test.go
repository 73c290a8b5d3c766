package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/pflag"

	"github.com/understudy-ha/understudy/cmd/understudy/exit"
)

// installed is a host whose settings are in the file of its service alone.
func installed(t *testing.T) (h *testHost, file string) {
	t.Helper()
	h = newTestHosts(t, "host-a")[0]
	var text strings.Builder
	for name, value := range h.env {
		fmt.Fprintf(&text, "%s='%s'\n", name, value)
	}
	h.env = nil
	h.write("environment", "# of the service\n"+text.String()+"AWS_ACCESS_KEY_ID=from-the-file\nUNDERSTUDY_INHERIT=A,B\n")
	return h, h.path("environment")
}

// as runs the program as a user, with a file of this host's.
func as(t *testing.T, uid uint32, file string, args ...string) (out string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", args...)
	cmd.Env = []string{asTheProgram + "=" + file, "PATH=/usr/bin:/bin"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	text, err := cmd.CombinedOutput()
	if exited := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exited) {
		t.Fatalf("%v: %v", args, err)
	}
	return string(text), cmd.ProcessState.ExitCode()
}

func TestCommandsTakeTheSettingsOfTheService(t *testing.T) {
	h, file := installed(t)
	for _, args := range [][]string{{"init"}, {"doctor"}, {"init"}} {
		if out, code := as(t, 0, file, args...); code != exit.Done {
			t.Errorf("%v: exit %d: %s", args, code, out)
		}
	}
	// What the environment says wins, and none is none.
	if out, code := as(t, 0, file, "backups", "--environment-file", "none", "--data-dir", h.path("data")); code != exit.Failed || !strings.Contains(out, "no agent answers") {
		t.Errorf("without the file: exit %d: %s", code, out)
	}
	if out, code := as(t, 0, file, "status"); code != exit.Failed || !strings.Contains(out, h.path("data/agent.sock")) {
		t.Errorf("status: exit %d: %s", code, out)
	}
}

func TestWhatIsNoSettingGoesToTheEnvironment(t *testing.T) {
	_, file := installed(t)
	set := map[string]string{}
	env := map[string]string{"AWS_REGION": "near"}
	a := &surroundings{
		lookup:      func(name string) (string, bool) { v, ok := env[name]; return v, ok },
		environment: file, setenv: func(name, value string) error { set[name] = value; return nil },
	}
	if _, err := a.find(pflag.NewFlagSet("test", pflag.ContinueOnError)); err != nil {
		t.Fatal(err)
	}
	if len(set) != 2 || set["AWS_ACCESS_KEY_ID"] != "from-the-file" || set["UNDERSTUDY_INHERIT"] != "A,B" {
		t.Errorf("set: %v", set)
	}
	// What systemd has started has been given its own.
	env["SYSTEMD_EXEC_PID"] = strconv.Itoa(os.Getpid())
	if found, err := a.find(pflag.NewFlagSet("test", pflag.ContinueOnError)); err != nil || len(found.Assignments()) > 0 {
		t.Errorf("below systemd: %+v: %v", found, err)
	}
}

// Credentials of one provider belong together: those of the environment win as a whole.
func TestCredentialsAreNotMixed(t *testing.T) {
	for given, want := range map[string]string{
		"":                            "AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AZURE_STORAGE_KEY HTTPS_PROXY MINIO_ACCESS_KEY",
		"AWS_REGION":                  "AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AZURE_STORAGE_KEY HTTPS_PROXY MINIO_ACCESS_KEY",
		"AWS_SECRET_ACCESS_KEY":       "AZURE_STORAGE_KEY HTTPS_PROXY",
		"AWS_PROFILE":                 "AZURE_STORAGE_KEY HTTPS_PROXY",
		"AWS_WEB_IDENTITY_TOKEN_FILE": "AZURE_STORAGE_KEY HTTPS_PROXY",
		"AZURE_CLIENT_ID":             "AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN HTTPS_PROXY MINIO_ACCESS_KEY",
		"MINIO_ROOT_USER":             "AZURE_STORAGE_KEY HTTPS_PROXY",
		"AZURE_STORAGE_SAS_TOKEN":     "AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN HTTPS_PROXY MINIO_ACCESS_KEY",
		"UNDERSTUDY_KEY":              "AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AZURE_STORAGE_KEY HTTPS_PROXY MINIO_ACCESS_KEY",
	} {
		file := filepath.Join(t.TempDir(), "environment")
		if err := os.WriteFile(file, []byte("AWS_ACCESS_KEY_ID=a\nAWS_SECRET_ACCESS_KEY=b\nAWS_SESSION_TOKEN=c\nAZURE_STORAGE_KEY=d\nMINIO_ACCESS_KEY=e\nHTTPS_PROXY=f\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		var set []string
		a := &surroundings{
			lookup:      func(name string) (string, bool) { return "x", name == given },
			environment: file, setenv: func(name, _ string) error { set = append(set, name); return nil },
		}
		if _, err := a.find(pflag.NewFlagSet("test", pflag.ContinueOnError)); err != nil {
			t.Fatal(err)
		}
		slices.Sort(set)
		if got := strings.Join(set, " "); got != want {
			t.Errorf("with %s in the environment: %s, want %s", given, got, want)
		}
	}
}

func TestWhoMayNotReadTheSettingsIsToldOfSudo(t *testing.T) {
	h, file := installed(t)
	for dir := filepath.Dir(file); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	const nobody = 65534
	for _, args := range [][]string{{"status", "--data-dir", h.path("data")}, {"backups"}, {"restore", "latest", "--to", "/tmp/nowhere"}} {
		out, code := as(t, nobody, file, args...)
		if code == exit.Done || strings.Count(strings.TrimSpace(out), "\n") > 0 || !strings.Contains(out, file) || !strings.Contains(out, "run with sudo") {
			t.Errorf("%v: exit %d, want one line with sudo in it: %s", args, code, out)
		}
	}
	if out, code := as(t, nobody, file, "key", "generate"); code != exit.Done || strings.Contains(out, "sudo") {
		t.Errorf("what needs no settings: exit %d: %s", code, out)
	}
	if out, code := as(t, nobody, file, "version"); code != exit.Done {
		t.Errorf("version: exit %d: %s", code, out)
	}
}

package application

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func sh(script string) Hook { return Hook{Command: []string{"sh", "-c", script}, Timeout: time.Minute} }

func TestAHookGetsItsEnvironmentAndNoOther(t *testing.T) {
	t.Setenv("UNDERSTUDY_KEY", "secret")
	out := filepath.Join(t.TempDir(), "out")
	r := Exec{Env: []string{"PATH=" + os.Getenv("PATH")}, Folder: t.TempDir()}
	_, err := r.Run(t.Context(), "promote", sh("env > "+out), []string{"UNDERSTUDY_EPOCH=7"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(out)
	if err != nil || !strings.Contains(string(got), "UNDERSTUDY_EPOCH=7") || strings.Contains(string(got), "secret") {
		t.Errorf("%s, %v", got, err)
	}
}

func TestAHooksErrorShowsTheEndOfItsOutput(t *testing.T) {
	r := Exec{Folder: t.TempDir()}
	output, err := r.Run(t.Context(), "demote", sh("yes begin | head -n 10000; echo the reason >&2; exit 3"), nil)
	if err = WithOutput(err, output); err == nil || !strings.HasSuffix(err.Error(), "the reason") || !strings.Contains(err.Error(), "exit status 3") || len(err.Error()) > maxHookOutput+200 {
		t.Errorf("%v", err)
	}
	if _, err := r.Run(t.Context(), "demote", Hook{Command: []string{"/nonexistent"}, Timeout: time.Minute}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a command that does not exist: %v", err)
	}
	if _, err := r.Run(t.Context(), "demote", Hook{}, nil); err != nil {
		t.Errorf("an empty hook: %v", err)
	}
}

func TestAHookThatHangsIsEndedWithAllThatItStarted(t *testing.T) {
	dir := t.TempDir()
	alive := filepath.Join(dir, "alive")
	if err := syscall.Mkfifo(alive, 0o600); err != nil {
		t.Fatal(err)
	}
	h := sh("exec 9>" + alive + "; (trap '' TERM; sleep 1000; sleep 1000) & wait")
	h.Timeout = 300 * time.Millisecond
	done := make(chan error, 1)
	go func() {
		_, err := Exec{Folder: dir}.Run(t.Context(), "demote", h, nil)
		done <- err
	}()
	if _, err := os.ReadFile(alive); err != nil { // ends when nobody has it open any more
		t.Fatal(err)
	}
	if err := <-done; err == nil || !strings.Contains(err.Error(), "longer than 300ms") {
		t.Errorf("%v", err)
	}
}

func TestACancelledHookEndsSoon(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	dir := t.TempDir()
	ready := filepath.Join(dir, "ready")
	if err := syscall.Mkfifo(ready, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := Exec{Folder: dir}.Run(ctx, "promote", sh("echo > "+ready+"; exec sleep 1000"), nil)
		done <- err
	}()
	if _, err := os.ReadFile(ready); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestWhatAHookStartsMayOutliveIt(t *testing.T) {
	dir := t.TempDir()
	pid := filepath.Join(dir, "pid")
	if _, err := (Exec{Folder: dir}).Run(t.Context(), "promote", sh("sleep 1000 & echo $! > "+pid), nil); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (Exec{Folder: dir}).Run(t.Context(), "demote", sh("kill "+string(text)), nil); err != nil {
		t.Errorf("the application has not outlived its hook: %v", err)
	}
}

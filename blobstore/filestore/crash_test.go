package filestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/understudy-ha/understudy/blobstore"
)

const (
	crashDirEnv   = "FILESTORE_CRASH_DIR"
	crashStepEnv  = "FILESTORE_CRASH_STEP"
	crashTokenEnv = "FILESTORE_CRASH_TOKEN"
	crashKey      = "deep/below/k"
)

var crashOld, crashNew = bytes.Repeat([]byte("o"), 3*writePiece), bytes.Repeat([]byte("n"), 2*writePiece)

// crashWorker, in a process started for it, replaces a blob and kills itself
// at the step it was told, with no chance to clean up.
func crashWorker() {
	dir := os.Getenv(crashDirEnv)
	if dir == "" {
		return
	}
	err := crash(context.Background(), dir, os.Getenv(crashStepEnv), blobstore.Token(os.Getenv(crashTokenEnv)))
	fmt.Fprintln(os.Stderr, "survived:", err)
	os.Exit(1)
}

func crash(ctx context.Context, dir, step string, token blobstore.Token) error {
	s, err := New(ctx, dir, Options{})
	if err != nil {
		return err
	}
	s.step = func(name string) {
		if name == step {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	cond := blobstore.IfAbsent()
	if token != "" {
		cond = blobstore.IfMatch(token)
	}
	_, err = s.Put(ctx, crashKey, crashNew, cond)
	return err
}

func runCrash(t *testing.T, s *Store, step string, token blobstore.Token) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), crashDirEnv+"="+s.dir, crashStepEnv+"="+step, crashTokenEnv+"="+string(token))
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !exit.Sys().(syscall.WaitStatus).Signaled() {
		t.Fatalf("worker was to be killed at %q, but: %v %s", step, err, out)
	}
}

func TestCrashBetweenStepsLeavesTheOldOrTheNew(t *testing.T) {
	steps := []struct {
		name string
		want []byte // nil: as before
	}{
		{"piece", nil}, {"written", nil}, {"sealed", nil}, {"parents", nil},
		{"landed", crashNew}, {"synced", crashNew},
	}
	for _, step := range steps {
		for _, exists := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/exists=%v", step.name, exists), func(t *testing.T) {
				s := openTemp(t)
				var old blobstore.Attrs
				var before []byte
				if exists {
					var err error
					if old, err = s.Put(t.Context(), crashKey, crashOld, blobstore.IfAbsent()); err != nil {
						t.Fatal(err)
					}
					before = crashOld
				}
				runCrash(t, s, step.name, old.Token)
				want := step.want
				if want == nil {
					want = before
				}
				checkAfterCrash(t, s, old.Token, want)
			})
		}
	}
}

// checkAfterCrash checks that the blob is the wanted version (nil: missing),
// that its token tells which, and that the store works on.
func checkAfterCrash(t *testing.T, s *Store, old blobstore.Token, want []byte) {
	t.Helper()
	body, attrs, err := blobstore.ReadAll(t.Context(), s, crashKey, 1<<30)
	if want == nil {
		if !errors.Is(err, blobstore.ErrNotFound) {
			t.Fatalf("read: %v, want not found", err)
		}
		if _, err := s.Put(t.Context(), crashKey, crashNew, blobstore.IfAbsent()); err != nil {
			t.Errorf("create after the crash: %v", err)
		}
		return
	}
	if err != nil || !bytes.Equal(body, want) {
		t.Fatalf("read %d bytes, %v; want %d", len(body), err, len(want))
	}
	if same := attrs.Token == old; same != bytes.Equal(want, crashOld) {
		t.Errorf("token is the old one: %v, yet the body is %.1q", same, body)
	}
	if _, err := s.Put(t.Context(), crashKey, []byte("next"), blobstore.IfMatch(attrs.Token)); err != nil {
		t.Errorf("swap after the crash: %v", err)
	}
	for attrs, err := range s.List(t.Context(), "", "") {
		if err != nil || attrs.Key != crashKey || strings.Contains(attrs.Key, tempDir) {
			t.Errorf("list: %+v, %v", attrs, err)
		}
	}
}

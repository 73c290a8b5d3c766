package storetest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/blobstore"
)

const (
	processes      = 4
	processRounds  = 25
	processCounts  = 15
	workerEnv      = "STORETEST_WORKER" // the URL of the store to work on
	workerIDEnv    = "STORETEST_WORKER_ID"
	processKey     = "processes/round-%d"
	processCounter = "processes/counter"
)

// Worker makes the test binary one of RunProcesses's processes if it was
// started as one, and then does not return. Call it first in TestMain.
func Worker(open func(ctx context.Context, url string) (blobstore.Store, error)) {
	url := os.Getenv(workerEnv)
	if url == "" {
		return
	}
	w := work{open: open, url: url, id: os.Getenv(workerIDEnv), in: os.Stdin, out: os.Stdout}
	if err := w.run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// RunProcesses checks conditional writes between processes: it starts the test
// binary several times (see Worker), each with env added to its environment,
// and lets them race on the store that url names, which must be empty.
func RunProcesses(t *testing.T, s blobstore.Store, url string, env ...string) {
	t.Helper()
	workers := make([]*worker, processes)
	for i := range workers {
		workers[i] = startWorker(t, i, url, env)
	}
	for _, w := range workers {
		w.ready(t)
	}
	for _, w := range workers {
		w.begin(t)
	}
	wins := make(map[string][]string) // by key
	for _, w := range workers {
		for _, key := range w.finish(t) {
			wins[key] = append(wins[key], w.id)
		}
	}
	for round := range processRounds {
		key := fmt.Sprintf(processKey, round)
		if len(wins[key]) != 1 {
			t.Errorf("%s was created by processes %q, want one", key, wins[key])
			continue
		}
		body, _ := read(t, s, key)
		wantBody(t, key, body, []byte(wins[key][0]))
	}
	if got := readCounter(t, s, processCounter); got != processes*processCounts {
		t.Errorf("counter is %d after %d increments", got, processes*processCounts)
	}
}

// work is what a worker process does.
type work struct {
	open    func(context.Context, string) (blobstore.Store, error)
	url, id string
	in      io.Reader
	out     io.Writer
}

// run says that it is ready, waits for a line, and prints each key that it was
// the one to create.
func (w work) run(ctx context.Context) error {
	s, err := w.open(ctx, w.url)
	if err != nil {
		return err
	}
	// The first request sets up what the race must not wait for.
	if _, err := s.Stat(ctx, processCounter); err != nil && !errors.Is(err, blobstore.ErrNotFound) {
		return err
	}
	if _, err := fmt.Fprintln(w.out, "ready"); err != nil {
		return err
	}
	if _, err := bufio.NewReader(w.in).ReadString('\n'); err != nil {
		return fmt.Errorf("wait for the start: %w", err)
	}
	for round := range processRounds {
		key := fmt.Sprintf(processKey, round)
		won, err := create(ctx, s, key, w.id)
		if err != nil {
			return err
		}
		if !won {
			continue
		}
		if _, err := fmt.Fprintln(w.out, key); err != nil {
			return err
		}
	}
	for n := range processCounts {
		if err := increment(ctx, s, processCounter, fmt.Sprintf("%s-%d", w.id, n)); err != nil {
			return err
		}
	}
	return nil
}

// create reports whether this process is the one that created the blob.
func create(ctx context.Context, s blobstore.Store, key, id string) (bool, error) {
	_, err := s.Put(ctx, key, []byte(id), blobstore.IfAbsent())
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, blobstore.ErrPrecondition):
		return false, nil
	case !errors.Is(err, blobstore.ErrUnknownOutcome):
		return false, err
	}
	if won, err := create(ctx, s, key, id); won || err != nil {
		return won, err
	}
	body, _, err := blobstore.ReadAll(ctx, s, key, 1<<10)
	return string(body) == id, err
}

type worker struct {
	id     string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Scanner
	stderr strings.Builder
}

func startWorker(t *testing.T, i int, url string, env []string) *worker {
	t.Helper()
	w := &worker{id: fmt.Sprintf("process-%d", i)}
	w.cmd = exec.CommandContext(t.Context(), os.Args[0])
	w.cmd.Env = append(os.Environ(), env...)
	w.cmd.Env = append(w.cmd.Env, workerEnv+"="+url, workerIDEnv+"="+w.id)
	w.cmd.Stderr = &w.stderr
	stdin, err := w.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := w.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	w.stdin, w.stdout = stdin, bufio.NewScanner(stdout)
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *worker) ready(t *testing.T) {
	t.Helper()
	if !w.stdout.Scan() || w.stdout.Text() != "ready" {
		err := w.cmd.Wait()
		t.Fatalf("%s did not get ready: %v\n%s\n(is storetest.Worker called in TestMain?)", w.id, err, &w.stderr)
	}
}

func (w *worker) begin(t *testing.T) {
	t.Helper()
	if _, err := io.WriteString(w.stdin, "go\n"); err != nil {
		t.Fatalf("start %s: %v", w.id, err)
	}
}

// finish waits for the process and returns the keys that it created.
func (w *worker) finish(t *testing.T) []string {
	t.Helper()
	var keys []string
	for w.stdout.Scan() {
		keys = append(keys, w.stdout.Text())
	}
	if err := errors.Join(w.stdout.Err(), w.cmd.Wait()); err != nil {
		t.Fatalf("%s failed: %v\n%s", w.id, err, &w.stderr)
	}
	return keys
}

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
	processes      = 5
	processWriters = 4 // in each
	processRounds  = 20
	processCounts  = 4                  // by each writer
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
// and lets the writers of all of them, twenty, race on the store that url
// names, which must be empty.
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
		for _, win := range w.finish(t) {
			key, winner, _ := strings.Cut(win, " ")
			wins[key] = append(wins[key], winner)
		}
	}
	for round := range processRounds {
		key := fmt.Sprintf(processKey, round)
		if len(wins[key]) != 1 {
			t.Errorf("%s was created by %q, want one", key, wins[key])
			continue
		}
		body, _ := read(t, s, key)
		wantBody(t, key, body, []byte(wins[key][0]))
	}
	const want = processes * processWriters * processCounts
	if got := readCounter(t, s, processCounter); got != want {
		t.Errorf("counter is %d after %d increments", got, want)
	}
}

// work is what a worker process does.
type work struct {
	open    func(context.Context, string) (blobstore.Store, error)
	url, id string
	in      io.Reader
	out     io.Writer
}

// run says that it is ready, waits for a line, and prints each key that one of
// its writers created, with the writer's name.
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
	// Writers meet anew for every round, so that each is a race within the
	// process as well as between processes.
	for round := range processRounds {
		if err := w.race(ctx, s, fmt.Sprintf(processKey, round)); err != nil {
			return err
		}
	}
	errs := make([]error, processWriters)
	race(processWriters, func(i int) {
		for n := 0; n < processCounts && errs[i] == nil; n++ {
			errs[i] = increment(ctx, s, processCounter, fmt.Sprintf("%s-%d", w.writer(i), n))
		}
	})
	return errors.Join(errs...)
}

// writer names one of the process's writers.
func (w work) writer(i int) string { return fmt.Sprintf("%s.%d", w.id, i) }

// race lets the process's writers create one blob, and prints its key and the
// writer if it was one of them.
func (w work) race(ctx context.Context, s blobstore.Store, key string) error {
	won, errs := make([]bool, processWriters), make([]error, processWriters)
	race(processWriters, func(i int) { won[i], errs[i] = create(ctx, s, key, w.writer(i)) })
	for i := range won {
		if !won[i] {
			continue
		}
		if _, err := fmt.Fprintln(w.out, key, w.writer(i)); err != nil {
			return err
		}
	}
	return errors.Join(errs...)
}

// create reports whether this writer is the one that created the blob.
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

// finish waits for the process and returns what its writers won: lines of a
// key and a name.
func (w *worker) finish(t *testing.T) []string {
	t.Helper()
	var wins []string
	for w.stdout.Scan() {
		wins = append(wins, w.stdout.Text())
	}
	if err := errors.Join(w.stdout.Err(), w.cmd.Wait()); err != nil {
		t.Fatalf("%s failed: %v\n%s", w.id, err, &w.stderr)
	}
	return wins
}

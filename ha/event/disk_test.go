package event

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// An event waits a moment for a disk that does not answer, and the next ones not
// at all; what was added meanwhile is written when it answers.
func TestEventsWaitForNoDeadDisk(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "events.jsonl"), Options{InMemory: 100})
	r, w, err := os.Pipe() // it takes what a pipe holds, and then nothing until it is read
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	l.disk.using <- struct{}{}
	l.disk.file.f.Close()
	l.disk.file.f = w
	<-l.disk.using
	began := time.Now()
	long := strings.Repeat("x", maxText)
	for range 50 {
		add(l, long)
	}
	if took := time.Since(began); took > 20*diskPatience {
		t.Errorf("50 events took %v", took)
	}
	if got := len(l.Recent(0, 0)); got != 50 {
		t.Errorf("%d events are in memory", got)
	}
	if got, err := l.Select(Filter{Limit: 1}); err != nil || len(got) != 1 || got[0].ID != 50 {
		t.Errorf("the newest: %d events, %v", len(got), err)
	}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	for n := 0; n < 50 && lines.Scan(); n++ {
		if !strings.Contains(lines.Text(), long) {
			t.Fatalf("event %d is not whole: %q, %v", n, lines.Text(), lines.Err())
		}
	}
}

package event

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func open(t *testing.T, path string, opt Options) *Log {
	t.Helper()
	l, err := Open(path, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func add(l *Log, text string) {
	l.Add(context.Background(), Event{Time: time.Unix(1e9, 0), Level: Info, Kind: "test", Text: text, Instance: "a"})
}

func texts(events []Event) string {
	var all []string
	for _, e := range events {
		all = append(all, fmt.Sprintf("%d %s", e.ID, e.Text))
	}
	return strings.Join(all, ", ")
}

func TestEventsSurviveARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	l := open(t, path, Options{})
	add(l, "one")
	add(l, "two")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	add(l, "after the end")
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"id":3,"text":"cut sho`); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, path, Options{})
	add(l, "three")
	again := open(t, path, Options{})
	if got, want := texts(again.Recent(0, 0)), "1 one, 2 two, 3 three"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := texts(again.Recent(1, 1)), "3 three"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := again.Recent(9, 0); len(got) != 0 {
		t.Errorf("after the last: %v", got)
	}
}

func TestTheLogIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	l := open(t, path, Options{InMemory: 5, MaxBytes: 1000, Keep: 1})
	for i := range 100 {
		add(l, fmt.Sprint(i))
	}
	if got, want := texts(l.Recent(0, 0)), "96 95, 97 96, 98 97, 99 98, 100 99"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) != 2 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, name := range files {
		info, err := os.Stat(name)
		if err != nil || info.Size() > 1000 || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has %d bytes, mode %v, %v", name, info.Size(), info.Mode(), err)
		}
	}
	if got := texts(open(t, path, Options{InMemory: 2}).Recent(0, 0)); got != "99 98, 100 99" {
		t.Errorf("after a restart: %s", got)
	}
}

func TestAWatcherSeesPastAndFutureWithoutAGap(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "events.jsonl"), Options{})
	add(l, "one")
	add(l, "two")
	past, next, cancel := l.Subscribe(1)
	add(l, "three")
	if got := texts(past) + ", " + texts([]Event{<-next}); got != "2 two, 3 three" {
		t.Error(got)
	}
	for range 2 * subscriptionBuffer { // a slow watcher holds nobody up
		add(l, "many")
	}
	cancel()
	_, other, _ := l.Subscribe(0)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, open := <-other; open {
		t.Error("the channel is not closed with the log")
	}
	if _, closed, _ := l.Subscribe(0); closed != nil {
		if _, open := <-closed; open {
			t.Error("a subscription to a closed log is open")
		}
	}
}

func TestEveryEventIsLoggedOnceAtItsLevel(t *testing.T) {
	var out bytes.Buffer
	l := open(t, filepath.Join(t.TempDir(), "events.jsonl"), Options{Logger: slog.New(slog.NewJSONHandler(&out, nil))})
	for _, level := range []Level{Info, Warn, Alarm} {
		l.Add(t.Context(), Event{Level: level, Kind: "test", Text: "something", Instance: "a", Fields: map[string]any{"backup": "b1"}})
	}
	var levels []string
	for line := range strings.Lines(out.String()) {
		var got map[string]any
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatal(err)
		}
		if got["msg"] != "something" || got["kind"] != "test" || got["backup"] != "b1" {
			t.Errorf("%v", got)
		}
		levels = append(levels, got["level"].(string))
	}
	if got := strings.Join(levels, " "); got != "INFO WARN ERROR" {
		t.Error(got)
	}
}

func TestALogThatCannotBeWrittenGoesOnInMemory(t *testing.T) {
	var out bytes.Buffer
	path := filepath.Join(t.TempDir(), "events.jsonl")
	l := open(t, path, Options{Logger: slog.New(slog.NewTextHandler(&out, nil)), MaxBytes: 1, Keep: 1})
	add(l, "one")
	if err := os.MkdirAll(filepath.Join(older(path, 1), "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	add(l, "two")
	add(l, "three")
	if got := texts(l.Recent(0, 0)); got != "1 one, 2 two, 3 three" {
		t.Error(got)
	}
	if n := strings.Count(out.String(), "cannot be written"); n != 1 {
		t.Errorf("said %d times", n)
	}
}

// TestOlderEventsAreReadFromTheFiles: memory holds the newest alone, the files
// what fits into them.
func TestOlderEventsAreReadFromTheFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	l := open(t, path, Options{InMemory: 3, MaxBytes: 1000, Keep: 3})
	for i := range 30 {
		level, kind, by := Info, "backup", ""
		if i%10 == 0 {
			level, kind, by = Alarm, "bucket", "alice"
		}
		l.Add(WithActor(t.Context(), by), Event{Time: time.Unix(1e9+int64(i), 0), Level: level, Kind: kind, Text: fmt.Sprint(i)})
	}
	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) < 3 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, log := range []*Log{l, open(t, path, Options{InMemory: 3, MaxBytes: 1000, Keep: 3})} {
		for _, c := range []struct {
			f    Filter
			want string
		}{
			{Filter{Limit: 2}, "29 28, 30 29"},
			{Filter{Limit: 5}, "26 25, 27 26, 28 27, 29 28, 30 29"},
			{Filter{After: 27}, "28 27, 29 28, 30 29"},
			{Filter{After: 25}, "26 25, 27 26, 28 27, 29 28, 30 29"},
			{Filter{Since: time.Unix(1e9+28, 0)}, "29 28, 30 29"},
			{Filter{Since: time.Unix(1e9+24, 0), Limit: 3}, "28 27, 29 28, 30 29"},
			{Filter{Since: time.Unix(1e9+26, 0)}, "27 26, 28 27, 29 28, 30 29"},
			{Filter{Kinds: []string{"bucket", "head"}, Limit: 2}, "11 10, 21 20"},
			{Filter{Levels: []Level{Alarm}, Limit: 1}, "21 20"},
			{Filter{Levels: []Level{Warn}}, ""},
		} {
			got, err := log.Select(c.f)
			if err != nil || texts(got) != c.want {
				t.Errorf("%+v: %s, %v; want %s", c.f, texts(got), err, c.want)
			}
		}
	}
	got, err := l.Select(Filter{Kinds: []string{"bucket"}, Limit: 1})
	if err != nil || got[0].By != "alice" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestALongTextIsCut(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "events.jsonl"), Options{})
	add(l, strings.Repeat("ä", maxText))
	if got := l.Recent(0, 0)[0].Text; len(got) > maxText+3 || !strings.HasSuffix(got, "ä…") {
		t.Errorf("%d bytes", len(got))
	}
}

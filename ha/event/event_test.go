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
	l := open(t, path, Options{InMemory: 5, MaxBytes: 1000})
	for i := range 100 {
		add(l, fmt.Sprint(i))
	}
	if got, want := texts(l.Recent(0, 0)), "96 95, 97 96, 98 97, 99 98, 100 99"; got != want {
		t.Errorf("%s, want %s", got, want)
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
	l := open(t, path, Options{Logger: slog.New(slog.NewTextHandler(&out, nil)), MaxBytes: 1})
	add(l, "one")
	if err := os.MkdirAll(filepath.Join(older(path), "in the way"), 0o700); err != nil {
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

// Package event keeps what has happened on an instance, for people: a bounded
// log in the data folder, the newest events in memory, and subscriptions for
// those who watch. Every event is also logged, once. It is this instance's log;
// what happened to the cluster is in the bucket.
package event

import (
	"log/slog"
	"strings"
	"time"
)

// Level is how much an event matters.
type Level string

// Levels. An Alarm wants somebody to look.
const (
	Info  Level = "info"
	Warn  Level = "warn"
	Alarm Level = "alarm"
)

// Event is one thing that happened.
type Event struct {
	// ID grows by one with every event of an instance, across restarts. Log.Add
	// gives it.
	ID       uint64         `json:"id"`
	Time     time.Time      `json:"time"` // the instance's wall clock, UTC
	Level    Level          `json:"level"`
	Kind     string         `json:"kind"`         // one of Kinds
	Text     string         `json:"text"`         // one sentence
	By       string         `json:"by,omitempty"` // on whose word; "": nobody asked for it
	Instance string         `json:"instance"`
	Fields   map[string]any `json:"fields,omitempty"`
}

func (l Level) slog() slog.Level {
	switch l {
	case Alarm:
		return slog.LevelError
	case Warn:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// matters reports whether an event must outlive a crash of the host: what
// somebody asked for, and what went wrong.
func (e Event) matters() bool { return e.By != "" || e.Level != Info }

// maxText is the longest text of an event, in bytes.
const maxText = 8 << 10

// cut shortens a text that is too long, between two characters.
func cut(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "") + "…"
}

// attrs gives the event's fields in a stable order.
func (e Event) attrs() []slog.Attr {
	attrs := []slog.Attr{slog.String("kind", e.Kind), slog.String("instance", e.Instance)}
	if e.By != "" {
		attrs = append(attrs, slog.String("by", e.By))
	}
	for _, name := range sortedKeys(e.Fields) {
		attrs = append(attrs, slog.Any(name, e.Fields[name]))
	}
	return attrs
}

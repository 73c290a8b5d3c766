package terminal

import (
	"fmt"
	"strconv"
	"time"

	"github.com/dustin/go-humanize"
)

// Stamp is a time for people: always UTC, so that it reads the same on every
// host.
func Stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

// Age is a length of time for people.
func Age(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	case d < time.Hour:
		return d.Round(time.Second).String()
	default:
		return d.Round(time.Minute).String()
	}
}

// Size is a number of bytes for people.
func Size(n int64) string { return humanize.IBytes(uint64(max(0, n))) }

// Days is a length of time for people, in days.
func Days(d time.Duration) string {
	return strconv.FormatFloat(d.Hours()/24, 'f', -1, 64) + " days"
}

// InSeconds is a number of seconds for people.
func InSeconds(s float64) string { return Age(time.Duration(s * float64(time.Second))) }

// timeForms are the forms in which people write a time; those without a zone
// are in this host's.
var timeForms = []string{time.RFC3339, "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly}

// ParseTime reads a time as people write it.
func ParseTime(text string) (time.Time, error) {
	for _, form := range timeForms {
		if t, err := time.ParseInLocation(form, text, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time: write it like 2026-05-01T06:00:00Z, or 2026-05-01 06:00 in this host's time zone", text)
}

package terminal

import (
	"fmt"
	"strconv"
	"strings"
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
	case d < 0:
		return "-" + Age(-d)
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	case d < time.Hour:
		return short(d.Round(time.Second).String())
	case d < 2*day:
		return short(d.Round(time.Minute).String())
	}
	d = d.Round(time.Hour)
	if whole := d / day; d%day > 0 {
		return fmt.Sprintf("%dd%s", whole, short((d % day).String()))
	}
	return fmt.Sprintf("%dd", d/day)
}

const day = 24 * time.Hour

// Exact is a length of time as people write it, with nothing left out.
func Exact(d time.Duration) string {
	if d >= day && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	return short(d.String())
}

// short leaves out what of a length of time is nothing, at its end.
func short(text string) string {
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
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

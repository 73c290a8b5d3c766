package ha

import (
	"fmt"
	"strings"
	"time"
)

// Duration is a time.Duration that reads and writes as text ("60s").
type Duration time.Duration

// MarshalText writes the form that time.ParseDuration reads.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("parse duration: %w", err)
	}
	*d = Duration(v)
	return nil
}

// String is time.Duration's.
func (d Duration) String() string { return time.Duration(d).String() }

func (d Duration) std() time.Duration { return time.Duration(d) }

// ParseDuration reads a duration as time.ParseDuration does, and whole or
// broken days too ("14d", "1d12h").
func ParseDuration(text string) (time.Duration, error) {
	days, rest, found := strings.Cut(text, "d")
	if !found {
		d, err := time.ParseDuration(text)
		if err != nil {
			return 0, fmt.Errorf("%q is not a duration: write it like 90s, 5m, 12h or 14d", text)
		}
		return d, nil
	}
	d, err := time.ParseDuration(days + "h")
	d *= 24
	if err == nil && rest != "" {
		var more time.Duration
		more, err = time.ParseDuration(rest)
		d += more
	}
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration: write it like 90s, 5m, 12h or 14d", text)
	}
	return d, nil
}

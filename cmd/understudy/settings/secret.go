package settings

import "log/slog"

// Secret is text that no print, log or JSON shows.
type Secret string

const redacted = "[redacted]"

// String shows whether there is a secret, and never which.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// GoString is String: %#v shows no more.
func (s Secret) GoString() string { return s.String() }

// MarshalText is String.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue is String.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

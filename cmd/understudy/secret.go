package main

import "log/slog"

// secret is text that no print, log or JSON shows.
type secret string

const redacted = "[redacted]"

// String shows whether there is a secret, and never which.
func (s secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// GoString is String: %#v shows no more.
func (s secret) GoString() string { return s.String() }

// MarshalText is String.
//
//nolint:unparam // encoding.TextMarshaler wants the error
func (s secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue is String.
func (s secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

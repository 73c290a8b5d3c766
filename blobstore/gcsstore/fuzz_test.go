package gcsstore

import (
	"encoding/json"
	"net/url"
	"testing"
)

// FuzzRules: a store's lifecycle rules, which are written back as they were.
func FuzzRules(f *testing.F) {
	for _, text := range []string{
		`{"action":{"type":"Delete"},"condition":{"age":3,"matchesPrefix":["p/"]}}`,
		`{"action":{"type":"Delete"},"condition":{"age":"x","isLive":false,"new":[1]}}`, `{}`, `null`, `[]`, `{"condition":null}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(_ *testing.T, text []byte) {
		r, err := parseRule(json.RawMessage(text))
		if err == nil {
			r.own("p/")
		}
	})
}

// FuzzOptions: what stands in a bucket's URL.
func FuzzOptions(f *testing.F) {
	for _, text := range []string{"endpoint=http://127.0.0.1:1&anonymous=true", "endpoint=%00", "anonymous=maybe", "x=y", "endpoint=a&endpoint=b"} {
		f.Add(text)
	}
	f.Fuzz(func(_ *testing.T, text string) {
		if q, err := url.ParseQuery(text); err == nil {
			_, _ = parseOptions(q)
		}
	})
}

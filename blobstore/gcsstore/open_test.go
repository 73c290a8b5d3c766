package gcsstore

import (
	"net/url"
	"strings"
	"testing"
)

func TestOpenRefusesBadURLs(t *testing.T) {
	tests := map[string]string{ // URL: part of the error
		"gs:///prefix":                            "names no bucket",
		"gs:bucket":                               "names no bucket",
		"gs://bucket:9000/prefix":                 "names no bucket",
		"gs://bucket/a//b":                        "prefix",
		"gs://bucket/../b":                        "prefix",
		"gs://bucket/" + strings.Repeat("p", 201): "prefix",
		"gs://bucket?colour=red":                  "colour",
		"gs://bucket?anonymous=maybe":             "anonymous",
		"gs://bucket?endpoint=localhost":          "endpoint",
		"gs://bucket?endpoint=ftp://h":            "endpoint",
		"gs://bucket?endpoint=http://u:p@h":       "endpoint",
		"gs://bucket?endpoint=http://h/path":      "endpoint",
		"gs://bucket?private_key=x&token=hunter2": "secret",
		"gs://me:hunter2@bucket":                  "password",
	}
	for rawURL, want := range tests {
		_, err := mux.Open(t.Context(), rawURL)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("open %.50s: error %v, want one about %q", rawURL, err, want)
		}
	}
	t.Setenv("STORAGE_EMULATOR_HOST", "http://h/path")
	if _, err := mux.Open(t.Context(), "gs://bucket"); err == nil || !strings.Contains(err.Error(), "STORAGE_EMULATOR_HOST") {
		t.Errorf("bad emulator: error %v", err)
	}
}

func TestOptionsChooseTheWayToTheBucket(t *testing.T) {
	tests := []struct {
		query, emulator string
		want            options
	}{
		{"", "", options{googleEndpoint, false}},
		{"anonymous=true", "", options{googleEndpoint, true}},
		{"endpoint=http://h:1/", "", options{"http://h:1", true}},
		{"endpoint=https://storage-private.p.googleapis.com&anonymous=false", "", options{"https://storage-private.p.googleapis.com", false}},
		{"", "h:1", options{"http://h:1", true}},
		{"", "https://h:1/", options{"https://h:1", true}},
		{"endpoint=http://h:2", "h:1", options{"http://h:2", true}},
	}
	for _, test := range tests {
		t.Setenv("STORAGE_EMULATOR_HOST", test.emulator)
		query, err := url.ParseQuery(test.query)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := parseOptions(query); err != nil || got != test.want {
			t.Errorf("%q, emulator %q: %+v, %v; want %+v", test.query, test.emulator, got, err, test.want)
		}
	}
}

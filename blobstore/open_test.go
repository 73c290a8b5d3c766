package blobstore_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
)

func TestOpenRefusesWhatItCannotOpenSafely(t *testing.T) {
	memory := storetest.NewMemory()
	broken := errors.New("broken provider")
	mux := blobstore.Mux{
		"mem": func(context.Context, *url.URL) (blobstore.Store, error) { return memory, nil },
		"bad": func(context.Context, *url.URL) (blobstore.Store, error) { return nil, broken },
	}
	tests := []struct {
		name, url, want string // want: part of the error; "" is success
	}{
		{"known scheme", "mem://bucket/prefix?region=here&use_path_style=true", ""},
		{"unknown scheme", "ftp://bucket", `no provider for scheme "ftp"; want one of bad://, mem://`},
		{"no scheme", "/just/a/path", "no scheme"},
		{"empty", "", "no scheme"},
		{"password", "mem://key:hunter2@bucket", "user name or password"},
		{"user", "mem://hunter2@bucket", "user name or password"},
		{"secret in the query", "mem://bucket?aws_secret_access_key=hunter2", `"aws_secret_access_key" holds a secret`},
		{"token in the query", "mem://bucket?X-Amz-Security-Token=hunter2", "holds a secret"},
		{"signature in the query", "mem://bucket?sv=1&sig=hunter2", "holds a secret"},
		{"fragment", "mem://bucket#hunter2", "fragment"},
		{"unreadable", "mem://bucket:hunter2/%zz", "malformed"},
		{"unreadable query", "mem://bucket?a=%zzhunter2", "query"},
		{"provider's own error", "bad://bucket", "open bad bucket: broken provider"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s, err := mux.Open(t.Context(), test.url)
			switch {
			case test.want == "" && (err != nil || s != blobstore.Store(memory)):
				t.Errorf("got %v, %v; want the store", s, err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("error %v, want one that says %q", err, test.want)
			case err != nil && strings.Contains(err.Error(), "hunter2"):
				t.Errorf("error %v tells the secret", err)
			}
		})
	}
}

package s3store

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
)

// openAt opens a store behind an endpoint, with made-up credentials.
func openAt(t *testing.T, endpoint string) *Store {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "id")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	return open(t, "s3://bucket/prefix?endpoint="+url.QueryEscape(endpoint))
}

// answering returns a store whose every request is answered so, and a count
// of them.
func answering(t *testing.T, status int, code string) (*Store, *atomic.Int64) {
	t.Helper()
	requests := new(atomic.Int64)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		if code != "" {
			fmt.Fprintf(w, "<Error><Code>%s</Code><Message>made up</Message></Error>", code)
		}
	}))
	t.Cleanup(srv.Close)
	return openAt(t, srv.URL), requests
}

func TestAnswersAreGivenTheirKind(t *testing.T) {
	tests := []struct {
		status int
		code   string
		// What a read, a create and a swap make of it.
		read, create, swap error
	}{
		{304, "", blobstore.ErrNotModified, blobstore.ErrNotModified, blobstore.ErrNotModified},
		{301, "PermanentRedirect", blobstore.ErrInvalid, blobstore.ErrInvalid, blobstore.ErrInvalid},
		{400, "InvalidArgument", blobstore.ErrInvalid, blobstore.ErrInvalid, blobstore.ErrInvalid},
		{400, "ExpiredToken", blobstore.ErrDenied, blobstore.ErrDenied, blobstore.ErrDenied},
		{400, "RequestTimeout", blobstore.ErrUnavailable, blobstore.ErrUnknownOutcome, blobstore.ErrUnknownOutcome},
		{403, "AccessDenied", blobstore.ErrDenied, blobstore.ErrDenied, blobstore.ErrDenied},
		{403, "RequestTimeTooSkewed", blobstore.ErrUnavailable, blobstore.ErrUnavailable, blobstore.ErrUnavailable},
		{404, "NoSuchKey", blobstore.ErrNotFound, blobstore.ErrNotFound, blobstore.ErrPrecondition},
		{404, "NoSuchBucket", blobstore.ErrInvalid, blobstore.ErrInvalid, blobstore.ErrInvalid},
		{409, "ConditionalRequestConflict", blobstore.ErrUnavailable, blobstore.ErrUnknownOutcome, blobstore.ErrUnknownOutcome},
		{412, "PreconditionFailed", blobstore.ErrPrecondition, blobstore.ErrPrecondition, blobstore.ErrPrecondition},
		{416, "InvalidRange", blobstore.ErrInvalid, blobstore.ErrInvalid, blobstore.ErrInvalid},
		{429, "TooManyRequests", blobstore.ErrUnavailable, blobstore.ErrUnknownOutcome, blobstore.ErrUnknownOutcome},
		{500, "InternalError", blobstore.ErrUnavailable, blobstore.ErrUnknownOutcome, blobstore.ErrUnknownOutcome},
		{501, "NotImplemented", blobstore.ErrUnavailable, blobstore.ErrUnknownOutcome, blobstore.ErrUnknownOutcome},
		{503, "SlowDown", blobstore.ErrUnavailable, blobstore.ErrUnknownOutcome, blobstore.ErrUnknownOutcome},
		{502, "", blobstore.ErrUnavailable, blobstore.ErrUnknownOutcome, blobstore.ErrUnknownOutcome},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%d %s", test.status, test.code), func(t *testing.T) {
			s, requests := answering(t, test.status, test.code)
			_, _, readErr := s.Get(t.Context(), "k", blobstore.GetOptions{})
			_, createErr := s.Put(t.Context(), "k", []byte("x"), blobstore.IfAbsent())
			_, swapErr := s.Put(t.Context(), "k", []byte("x"), blobstore.IfMatch(`"token"`))
			for op, pair := range map[string][2]error{
				"read": {readErr, test.read}, "create": {createErr, test.create}, "swap": {swapErr, test.swap},
			} {
				storetest.WantKind(t, op, pair[0], pair[1])
			}
			if got := requests.Load(); got != 3 {
				t.Errorf("%d requests for three calls: something retries", got)
			}
		})
	}
}

func TestNoCredentialsMeansDenied(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	s := open(t, "s3://bucket?endpoint=http://127.0.0.1:1")
	_, err := s.Put(t.Context(), "k", nil, blobstore.IfAbsent())
	storetest.WantKind(t, "put", err, blobstore.ErrDenied)
	_, err = s.Stat(t.Context(), "k")
	storetest.WantKind(t, "stat", err, blobstore.ErrDenied)
}

func TestPutReportsTheStoresTime(t *testing.T) {
	want := time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Date", want.Format(http.TimeFormat))
		w.Header().Set("ETag", `"tag"`)
	}))
	defer srv.Close()
	attrs, err := openAt(t, srv.URL).Put(t.Context(), "k", []byte("x"), blobstore.Always)
	if err != nil || !attrs.Time.Equal(want) || attrs.Token != `"tag"` {
		t.Errorf("attributes %+v, %v; want time %v", attrs, err, want)
	}
}

func TestOpenRefusesBadURLs(t *testing.T) {
	tests := map[string]string{ // URL: part of the error
		"s3:///prefix":                                   "names no bucket",
		"s3:bucket":                                      "names no bucket",
		"s3://bucket:9000/prefix":                        "names no bucket",
		"s3://bucket/a//b":                               "prefix",
		"s3://bucket/../b":                               "prefix",
		"s3://bucket/" + strings.Repeat("p", 201):        "prefix",
		"s3://bucket?colour=red":                         "colour",
		"s3://bucket?use_path_style=maybe":               "use_path_style",
		"s3://bucket?endpoint=localhost":                 "endpoint",
		"s3://bucket?endpoint=http://u:p@h":              "endpoint",
		"s3://bucket?request_checksum_calculation=never": "request_checksum_calculation",
	}
	for rawURL, want := range tests {
		if _, err := mux.Open(t.Context(), rawURL); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("open %.50s: error %v, want one about %q", rawURL, err, want)
		}
	}
}

func TestOpenAppliesItsParameters(t *testing.T) {
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_DEFAULT_REGION", "")
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	tests := []struct {
		url, region, prefix string
		pathStyle           bool
	}{
		{"s3://bucket", "us-east-1", "", false},
		{"s3://bucket/", "us-east-1", "", false},
		{"s3://bucket/a/b/?region=eu-west-1", "eu-west-1", "a/b/", false},
		{"s3://bucket/a?endpoint=http://localhost:9000", "us-east-1", "a/", true},
		{"s3://bucket/a?endpoint=https://store.example&use_path_style=false", "us-east-1", "a/", false},
		{"s3://bucket?request_checksum_calculation=when_required", "us-east-1", "", false},
	}
	for _, test := range tests {
		s := open(t, test.url)
		o := s.client.Options()
		if o.Region != test.region || s.prefix != test.prefix || o.UsePathStyle != test.pathStyle || o.Retryer.MaxAttempts() != 1 {
			t.Errorf("%s: region %s, prefix %q, path style %v, %d attempts", test.url, o.Region, s.prefix, o.UsePathStyle, o.Retryer.MaxAttempts())
		}
	}
}

func TestErrorsTellInOneLineWhatTheStoreSaid(t *testing.T) {
	s, _ := answering(t, 403, "SignatureDoesNotMatch")
	_, err := s.Stat(t.Context(), "key")
	storetest.WantKind(t, "stat", err, blobstore.ErrDenied)
	_, err = s.Put(t.Context(), "key", nil, blobstore.IfAbsent())
	if want := "put key: access denied: SignatureDoesNotMatch: made up"; err == nil || err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}

	srv := httptest.NewServer(http.NotFoundHandler())
	gone := openAt(t, srv.URL)
	srv.Close()
	for op, do := range map[string]func() error{
		"get": func() error { _, _, err := gone.Get(t.Context(), "key", blobstore.GetOptions{}); return err },
		"put": func() error { _, err := gone.Put(t.Context(), "key", nil, blobstore.Condition{}); return err },
	} {
		want := op + " key: store unavailable: dial tcp " + srv.Listener.Addr().String() + ": connect: connection refused"
		if err := do(); err == nil || err.Error() != want {
			t.Errorf("error %q, want %q", err, want)
		}
	}
}

func TestSilentServersAreToldFromThoseThatRefuse(t *testing.T) {
	storetest.RunSilence(t, func(t *testing.T, endpoint string) blobstore.Store { return openAt(t, endpoint) })
}

func TestPutSendsOneRequestWithoutCopying(t *testing.T) {
	storetest.RunOnePut(t, func(t *testing.T, endpoint string) blobstore.Store { return openAt(t, endpoint) },
		func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("ETag", `"tag"`) })
}

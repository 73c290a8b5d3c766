package miniostore

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/e2e/server"
)

// openAt opens a store behind an endpoint, with made-up credentials.
func openAt(t *testing.T, endpoint string) *Store {
	t.Helper()
	t.Setenv("MINIO_ACCESS_KEY", "id")
	t.Setenv("MINIO_SECRET_KEY", "secret")
	return open(t, through(t, "minio://host/bucket/prefix?tls=false&region=us-east-1", endpoint))
}

// answering returns a store whose every request is answered so.
func answering(t *testing.T, status int, code string) *Store {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(status)
		fmt.Fprintf(w, "<Error><Code>%s</Code><Message>made up</Message></Error>", code)
	}))
	t.Cleanup(srv.Close)
	return openAt(t, srv.URL)
}

func TestCodesAreGivenTheirKind(t *testing.T) {
	tests := []struct {
		status       int
		code         string
		read, create error
	}{
		{400, "InvalidArgument", blobstore.ErrInvalid, blobstore.ErrInvalid},
		{400, "ExpiredToken", blobstore.ErrDenied, blobstore.ErrDenied},
		{400, "RequestTimeout", blobstore.ErrUnavailable, blobstore.ErrUnknownOutcome},
		{403, "RequestTimeTooSkewed", blobstore.ErrDenied, blobstore.ErrDenied},
		{404, "NoSuchKey", blobstore.ErrNotFound, blobstore.ErrNotFound},
		{404, "NoSuchBucket", blobstore.ErrInvalid, blobstore.ErrInvalid},
		{409, "ConditionalRequestConflict", blobstore.ErrUnavailable, blobstore.ErrUnknownOutcome},
		{412, "PreconditionFailed", blobstore.ErrPrecondition, blobstore.ErrPrecondition},
		{503, "SlowDown", blobstore.ErrUnavailable, blobstore.ErrUnknownOutcome},
	}
	for _, test := range tests {
		t.Run(test.code, func(t *testing.T) {
			s := answering(t, test.status, test.code)
			_, _, err := s.Get(t.Context(), "k", blobstore.GetOptions{})
			storetest.WantKind(t, "get", err, test.read)
			_, err = s.Put(t.Context(), "k", []byte("x"), blobstore.IfAbsent())
			storetest.WantKind(t, "create", err, test.create)
		})
	}
}

func TestErrorsTellInOneLineWhatTheStoreSaid(t *testing.T) {
	s := answering(t, 403, "SignatureDoesNotMatch")
	_, err := s.Put(t.Context(), "key", nil, blobstore.IfAbsent())
	if want := "put key: access denied: SignatureDoesNotMatch: made up"; err == nil || err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
	_, err = s.Rules(t.Context())
	if want := "read lifecycle bucket: access denied: SignatureDoesNotMatch: made up"; err == nil || err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
}

func TestNoCredentialsMeansDenied(t *testing.T) {
	for _, name := range []string{"MINIO_ACCESS_KEY", "MINIO_SECRET_KEY", "MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD",
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY", "AWS_SECRET_KEY"} {
		t.Setenv(name, "")
	}
	t.Setenv("HOME", t.TempDir())
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	// A host's role that answers, and has none: no test asks a real cloud.
	role := httptest.NewServer(http.NotFoundHandler())
	defer role.Close()
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", role.URL)
	s := open(t, "minio://127.0.0.1:1/bucket?tls=false&region=us-east-1")
	_, err := s.Put(t.Context(), "k", nil, blobstore.IfAbsent())
	storetest.WantKind(t, "put", err, blobstore.ErrDenied)
	_, err = s.Stat(t.Context(), "k")
	storetest.WantKind(t, "stat", err, blobstore.ErrDenied)
	if !strings.Contains(err.Error(), "MINIO_ACCESS_KEY") {
		t.Errorf("error %q does not say what to set", err)
	}
}

func TestCredentialsComeFromMinIOsVariablesFirst(t *testing.T) {
	u := bucketURL(t, "cluster")
	m := server.SharedMinIO(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "wrong")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong-too")
	t.Setenv("MINIO_ACCESS_KEY", m.AccessKey)
	t.Setenv("MINIO_SECRET_KEY", m.SecretKey)
	if _, err := open(t, u).Put(t.Context(), "k", nil, blobstore.IfAbsent()); err != nil {
		t.Error(err)
	}
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
	if err != nil || !attrs.Time.Equal(want) || attrs.Token != "tag" {
		t.Errorf("attributes %+v, %v; want time %v", attrs, err, want)
	}
}

func TestListEndsWithAnErrorWhenItsContextDoes(t *testing.T) {
	s := open(t, bucketURL(t, "cluster"))
	for i := range 3 {
		if _, err := s.Put(t.Context(), fmt.Sprintf("k/%d", i), nil, blobstore.Always); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for _, err := range s.List(ctx, "", "") {
		last = err
		cancel() // where the SDK's list ends without a word
	}
	storetest.WantKind(t, "list", last, blobstore.ErrUnavailable)
}

func TestOpenRefusesBadURLs(t *testing.T) {
	tests := map[string]string{ // URL: part of the error
		"minio:///bucket":          "names no bucket",
		"minio:host":               "names no bucket",
		"minio://host":             "names no bucket",
		"minio://host/":            "names no bucket",
		"minio://host//prefix":     "names no bucket",
		"minio://host/xy":          "bucket's name",
		"minio://host/bucket/a//b": "prefix",
		"minio://host/bucket/../b": "prefix",
		"minio://host/bucket/" + strings.Repeat("p", 201):     "prefix",
		"minio://host/bucket?colour=red":                      "colour",
		"minio://host/bucket?tls=maybe":                       "tls",
		"minio://host/bucket?lookup=phone":                    "lookup",
		"minio://user@host/bucket":                            "user name",
		"minio://host/bucket?secret_key=x":                    "secret",
		"minio://h:o:s:t/bucket":                              "malformed",
		"minio://" + strings.Repeat("-", 10) + "_/bucket/pre": "client",
	}
	for rawURL, want := range tests {
		if _, err := mux.Open(t.Context(), rawURL); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("open %.50s: error %v, want one about %q", rawURL, err, want)
		}
	}
}

func TestOpenAppliesItsParameters(t *testing.T) {
	t.Setenv("MINIO_ACCESS_KEY", "id")
	t.Setenv("MINIO_SECRET_KEY", "secret")
	tests := map[string]string{ // URL: what a request begins with for the key "k"
		"minio://host/bucket?region=eu-1":                                 "https://host/bucket/k?",
		"minio://host/bucket/?region=eu-1":                                "https://host/bucket/k?",
		"minio://host:9000/bucket/a/b/?region=eu-1&tls=false":             "http://host:9000/bucket/a/b/k?",
		"minio://host:9000/bucket/a?region=eu-1&lookup=path&tls=true":     "https://host:9000/bucket/a/k?",
		"minio://store.example:9000/bucket/a?region=eu-1&lookup=dns":      "https://bucket.store.example:9000/a/k?",
		"minio://127.0.0.1:9000/with.dot/a?region=eu-1&tls=0&lookup=path": "http://127.0.0.1:9000/with.dot/a/k?",
	}
	for rawURL, want := range tests {
		s := open(t, rawURL)
		u, err := s.core.Presign(t.Context(), http.MethodGet, s.bucket, s.prefix+"k", time.Minute, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := u.String(); !strings.HasPrefix(got, want) || !strings.Contains(got, "%2Feu-1%2F") {
			t.Errorf("%s: request to %s, want %s and region eu-1", rawURL, got, want)
		}
	}
}

func TestSilentServersAreToldFromThoseThatRefuse(t *testing.T) {
	storetest.RunSilence(t, func(t *testing.T, endpoint string) blobstore.Store { return openAt(t, endpoint) })
}

func TestPutSendsOneSignedRequestWithoutCopying(t *testing.T) {
	storetest.RunOnePut(t, func(t *testing.T, endpoint string) blobstore.Store { return openAt(t, endpoint) },
		func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodPut || r.Header.Get("Content-Encoding") != "" ||
				len(r.Header.Get("X-Amz-Content-Sha256")) != 64 || r.Header.Get("X-Amz-Trailer") != "" {
				t.Errorf("%s with header %v", r.Method, r.Header)
			}
			w.Header().Set("ETag", `"tag"`)
		})
}

// The request's URL holds a signature, which is nobody's business.
func TestUnreachableRulesTellNoSignature(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close() // nobody listens there any more
	want := "read lifecycle bucket: store unavailable: dial tcp " + srv.Listener.Addr().String() + ": connect: connection refused"
	if _, err := openAt(t, srv.URL).Rules(t.Context()); err == nil || err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
}

// Where mc was run once, its configuration holds placeholders; also sound keys in
// it come after those that were meant for this host.
func TestTheClientsConfigurationComesLast(t *testing.T) {
	for _, name := range []string{"MINIO_ACCESS_KEY", "MINIO_SECRET_KEY", "MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD",
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY", "AWS_SECRET_KEY"} {
		t.Setenv(name, "")
	}
	role := httptest.NewServer(http.NotFoundHandler())
	defer role.Close()
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", role.URL)
	home := t.TempDir()
	t.Setenv("HOME", home)
	shared := filepath.Join(home, "shared")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", shared)
	client := func(key string) {
		err := os.MkdirAll(filepath.Join(home, ".mc"), 0o700)
		if err == nil {
			err = os.WriteFile(filepath.Join(home, ".mc", "config.json"), []byte(`{"version":"10","aliases":{"s3":{"url":"https://s3.amazonaws.com","accessKey":"`+key+`","secretKey":"s","api":"S3v4","path":"dns"}}}`), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	key := func() string {
		value, err := chain().GetWithContext(nil)
		if err != nil {
			return err.Error()
		}
		return value.AccessKeyID
	}
	client("YOUR-ACCESS-KEY-HERE")
	if got := key(); !strings.Contains(got, "found none") {
		t.Errorf("the placeholders alone give %q", got)
	}
	client("clients")
	if got := key(); got != "clients" {
		t.Errorf("the client's configuration alone gives %q", got)
	}
	if err := os.WriteFile(shared, []byte("[default]\naws_access_key_id = shared\naws_secret_access_key = s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := key(); got != "shared" {
		t.Errorf("beside the shared file it gives %q", got)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "variables")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "s")
	if got := key(); got != "variables" {
		t.Errorf("beside variables it gives %q", got)
	}
}

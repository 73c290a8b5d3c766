package azstore

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
)

// openAt opens a store behind an endpoint, with made-up credentials.
func openAt(t *testing.T, endpoint string) *Store {
	t.Helper()
	t.Setenv(accountEnv, "account")
	t.Setenv(keyEnv, base64.StdEncoding.EncodeToString([]byte("secret")))
	return open(t, "azblob://bucket/prefix?endpoint="+url.QueryEscape(endpoint))
}

// serving returns a store whose every request is answered by one handler, and
// a count of them.
func serving(t *testing.T, answer http.HandlerFunc) (*Store, *atomic.Int64) {
	t.Helper()
	requests := new(atomic.Int64)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		answer(w, r)
	}))
	t.Cleanup(srv.Close)
	return openAt(t, srv.URL), requests
}

// refusal is an answer as Azure gives it.
func refusal(status int, code, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/xml")
		if code != "" {
			w.Header().Set("X-Ms-Error-Code", code)
		}
		w.WriteHeader(status)
		if message != "" {
			fmt.Fprintf(w, "\ufeff<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>%s</Code><Message>%s\nRequestId:4711\nTime:2031-01-01T00:00:00Z</Message></Error>", code, message)
		}
	}
}

func TestAnswersAreGivenTheirKind(t *testing.T) {
	tests := []struct {
		status int
		code   string
		// What a read, a create and a swap make of it.
		read, create, swap error
	}{
		{304, "ConditionNotMet", blobstore.ErrNotModified, blobstore.ErrNotModified, blobstore.ErrNotModified},
		{301, "", blobstore.ErrInvalid, blobstore.ErrInvalid, blobstore.ErrInvalid},
		{307, "", blobstore.ErrInvalid, blobstore.ErrInvalid, blobstore.ErrInvalid},
		{400, "InvalidHeaderValue", blobstore.ErrInvalid, blobstore.ErrInvalid, blobstore.ErrInvalid},
		{400, "InvalidAuthenticationInfo", blobstore.ErrDenied, blobstore.ErrDenied, blobstore.ErrDenied},
		{401, "NoAuthenticationInformation", blobstore.ErrDenied, blobstore.ErrDenied, blobstore.ErrDenied},
		{403, "AuthenticationFailed", blobstore.ErrDenied, blobstore.ErrDenied, blobstore.ErrDenied},
		{403, "AuthorizationPermissionMismatch", blobstore.ErrDenied, blobstore.ErrDenied, blobstore.ErrDenied},
		{404, "BlobNotFound", blobstore.ErrNotFound, blobstore.ErrNotFound, blobstore.ErrPrecondition},
		{404, "ContainerNotFound", blobstore.ErrInvalid, blobstore.ErrInvalid, blobstore.ErrInvalid},
		{408, "", blobstore.ErrUnavailable, blobstore.ErrUnknownOutcome, blobstore.ErrUnknownOutcome},
		{409, "BlobAlreadyExists", blobstore.ErrPrecondition, blobstore.ErrPrecondition, blobstore.ErrPrecondition},
		{409, "ContainerBeingDeleted", blobstore.ErrInvalid, blobstore.ErrInvalid, blobstore.ErrInvalid},
		{409, "BlobImmutableDueToPolicy", blobstore.ErrDenied, blobstore.ErrDenied, blobstore.ErrDenied},
		{409, "BlobArchived", blobstore.ErrInvalid, blobstore.ErrInvalid, blobstore.ErrInvalid},
		{409, "SystemInUse", blobstore.ErrUnavailable, blobstore.ErrUnknownOutcome, blobstore.ErrUnknownOutcome},
		{409, "", blobstore.ErrUnavailable, blobstore.ErrUnknownOutcome, blobstore.ErrUnknownOutcome},
		{412, "ConditionNotMet", blobstore.ErrPrecondition, blobstore.ErrPrecondition, blobstore.ErrPrecondition},
		{412, "LeaseIdMissing", blobstore.ErrDenied, blobstore.ErrDenied, blobstore.ErrDenied},
		{413, "RequestBodyTooLarge", blobstore.ErrInvalid, blobstore.ErrInvalid, blobstore.ErrInvalid},
		{416, "InvalidRange", blobstore.ErrInvalid, blobstore.ErrInvalid, blobstore.ErrInvalid},
		{429, "TooManyRequests", blobstore.ErrUnavailable, blobstore.ErrUnknownOutcome, blobstore.ErrUnknownOutcome},
		{500, "OperationTimedOut", blobstore.ErrUnavailable, blobstore.ErrUnknownOutcome, blobstore.ErrUnknownOutcome},
		{500, "InternalError", blobstore.ErrUnavailable, blobstore.ErrUnknownOutcome, blobstore.ErrUnknownOutcome},
		{502, "", blobstore.ErrUnavailable, blobstore.ErrUnknownOutcome, blobstore.ErrUnknownOutcome},
		{503, "ServerBusy", blobstore.ErrUnavailable, blobstore.ErrUnknownOutcome, blobstore.ErrUnknownOutcome},
		{504, "", blobstore.ErrUnavailable, blobstore.ErrUnknownOutcome, blobstore.ErrUnknownOutcome},
		{200, "", blobstore.ErrUnavailable, blobstore.ErrUnknownOutcome, blobstore.ErrUnknownOutcome},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%d %s", test.status, test.code), func(t *testing.T) {
			s, requests := serving(t, func(w http.ResponseWriter, r *http.Request) {
				if test.status/100 == 3 {
					w.Header().Set("Location", "http://"+r.Host+"/elsewhere")
				}
				refusal(test.status, test.code, "")(w, r)
			})
			_, _, getErr := s.Get(t.Context(), "k", blobstore.GetOptions{})
			_, statErr := s.Stat(t.Context(), "k")
			_, createErr := s.Put(t.Context(), "k", []byte("x"), blobstore.IfAbsent())
			_, swapErr := s.Put(t.Context(), "k", []byte("x"), blobstore.IfMatch(`"token"`))
			for op, pair := range map[string][2]error{
				"get": {getErr, test.read}, "stat": {statErr, test.read}, "create": {createErr, test.create}, "swap": {swapErr, test.swap},
			} {
				storetest.WantKind(t, op, pair[0], pair[1])
			}
			if got := requests.Load(); got != 4 {
				t.Errorf("%d requests for four calls: something retries or follows", got)
			}
		})
	}
}

func TestAnswersWithoutAnETagAreNotTrusted(t *testing.T) {
	s, _ := serving(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.Method == http.MethodPut {
			w.WriteHeader(http.StatusCreated)
		}
	})
	_, _, err := s.Get(t.Context(), "k", blobstore.GetOptions{})
	storetest.WantKind(t, "get", err, blobstore.ErrUnavailable)
	_, err = s.Stat(t.Context(), "k")
	storetest.WantKind(t, "stat", err, blobstore.ErrUnavailable)
	_, err = s.Put(t.Context(), "k", nil, blobstore.Always)
	storetest.WantKind(t, "put", err, blobstore.ErrUnavailable)
	_, err = s.Put(t.Context(), "k", nil, blobstore.IfAbsent())
	storetest.WantKind(t, "create", err, blobstore.ErrUnknownOutcome)
}

func TestPutReportsTheStoresTime(t *testing.T) {
	want := time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)
	s, _ := serving(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Last-Modified", want.Format(http.TimeFormat))
		w.Header().Set("ETag", `"tag"`)
		w.WriteHeader(http.StatusCreated)
	})
	attrs, err := s.Put(t.Context(), "k", []byte("x"), blobstore.Always)
	if err != nil || !attrs.Time.Equal(want) || attrs.Token != `"tag"` {
		t.Errorf("attributes %+v, %v; want time %v", attrs, err, want)
	}
}

func TestErrorsTellInOneLineWhatTheStoreSaid(t *testing.T) {
	get := func(s *Store) error { _, _, err := s.Get(t.Context(), "key", blobstore.GetOptions{}); return err }
	stat := func(s *Store) error { _, err := s.Stat(t.Context(), "key"); return err }
	put := func(s *Store) error { _, err := s.Put(t.Context(), "key", nil, blobstore.IfAbsent()); return err }
	const old = "<Error><Code>AuthenticationFailed</Code><Message>Server failed to authenticate.\nRequestId:1</Message>" +
		"<AuthenticationErrorDetail>Request date header too old: 'Mon, 01 Jan 2029 00:00:00 GMT'</AuthenticationErrorDetail></Error>"
	const signed = "<Error><Code>AuthenticationFailed</Code><Message>Server failed to authenticate.\nRequestId:1</Message>" +
		"<AuthenticationErrorDetail>The MAC signature found in the HTTP request 'c2VjcmV0' is not the same</AuthenticationErrorDetail></Error>"
	page := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	tests := []struct {
		answer http.HandlerFunc
		do     func(*Store) error
		want   string
	}{
		{refusal(403, "AuthorizationFailure", "made up"), put, "put key: access denied: AuthorizationFailure: made up"},
		{refusal(409, "BlobAlreadyExists", "It is there."), put, "put key: precondition failed: BlobAlreadyExists: It is there."},
		{refusal(404, "BlobNotFound", ""), stat, "stat key: not found: BlobNotFound HTTP status 404 Not Found"},
		{page(502, "<html>\n<h1>a page</h1>"), put, "put key: outcome of the write unknown: HTTP status 502 Bad Gateway"},
		{page(403, old), get, "get key: access denied: AuthenticationFailed: Server failed to authenticate. Request date header too old: 'Mon, 01 Jan 2029 00:00:00 GMT'"},
		{page(403, signed), get, "get key: access denied: AuthenticationFailed: Server failed to authenticate."},
	}
	for _, test := range tests {
		s, _ := serving(t, test.answer)
		if err := test.do(s); err == nil || err.Error() != test.want {
			t.Errorf("error %q, want %q", err, test.want)
		}
	}

	srv := httptest.NewServer(http.NotFoundHandler())
	gone := openAt(t, srv.URL)
	srv.Close()
	for op, do := range map[string]func(*Store) error{"get": get, "put": put} {
		want := op + " key: store unavailable: dial tcp " + srv.Listener.Addr().String() + ": connect: connection refused"
		if err := do(gone); err == nil || err.Error() != want {
			t.Errorf("error %q, want %q", err, want)
		}
	}
}

func TestSilentServersAreToldFromThoseThatRefuse(t *testing.T) {
	storetest.RunSilence(t, func(t *testing.T, endpoint string) blobstore.Store { return openAt(t, endpoint) })
}

func TestPutSendsOneRequestWithoutCopying(t *testing.T) {
	storetest.RunOnePut(t, func(t *testing.T, endpoint string) blobstore.Store { return openAt(t, endpoint) },
		func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("ETag", `"tag"`)
			w.WriteHeader(http.StatusCreated)
		})
}

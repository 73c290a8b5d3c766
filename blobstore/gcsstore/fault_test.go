package gcsstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
)

// openAt opens a store behind an endpoint.
func openAt(t *testing.T, endpoint string) *Store {
	t.Helper()
	return open(t, "gs://bucket/prefix?endpoint="+url.QueryEscape(endpoint))
}

// answering returns a store whose every request is answered so, and a count
// of them.
func answering(t *testing.T, status int, body string) (*Store, *atomic.Int64) {
	t.Helper()
	requests := new(atomic.Int64)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(srv.Close)
	return openAt(t, srv.URL), requests
}

// refusal is an error as Google's JSON API tells it.
func refusal(status int, reason, message string) string {
	return fmt.Sprintf(`{"error":{"code":%d,"message":%q,"errors":[{"message":%[2]q,"domain":"global","reason":%q}]}}`, status, message, reason)
}

// read opens a blob and closes it.
func read(ctx context.Context, s *Store, opt blobstore.GetOptions) error {
	body, _, err := s.Get(ctx, "k", opt)
	if err != nil {
		return err
	}
	return body.Close()
}

func TestAnswersAreGivenTheirKind(t *testing.T) {
	const gone = "The specified bucket does not exist."
	tests := []struct {
		status          int
		reason, message string
		// What a read, a create and a swap make of it.
		read, create, swap error
	}{
		{304, "", "", blobstore.ErrNotModified, blobstore.ErrNotModified, blobstore.ErrNotModified},
		{400, "invalid", "", blobstore.ErrInvalid, blobstore.ErrInvalid, blobstore.ErrInvalid},
		{401, "authError", "Invalid Credentials", blobstore.ErrDenied, blobstore.ErrDenied, blobstore.ErrDenied},
		{403, "forbidden", "no", blobstore.ErrDenied, blobstore.ErrDenied, blobstore.ErrDenied},
		{403, "userRateLimitExceeded", "slow down", blobstore.ErrUnavailable, blobstore.ErrUnknownOutcome, blobstore.ErrUnknownOutcome},
		{404, "notFound", "No such object: bucket/k", blobstore.ErrNotFound, blobstore.ErrNotFound, blobstore.ErrPrecondition},
		{404, "notFound", gone, blobstore.ErrInvalid, blobstore.ErrInvalid, blobstore.ErrInvalid},
		{408, "", "", blobstore.ErrUnavailable, blobstore.ErrUnknownOutcome, blobstore.ErrUnknownOutcome},
		{409, "conflict", "again", blobstore.ErrUnavailable, blobstore.ErrUnknownOutcome, blobstore.ErrUnknownOutcome},
		{412, "conditionNotMet", "no", blobstore.ErrPrecondition, blobstore.ErrPrecondition, blobstore.ErrPrecondition},
		{416, "requestedRangeNotSatisfiable", "", blobstore.ErrInvalid, blobstore.ErrInvalid, blobstore.ErrInvalid},
		{429, "rateLimitExceeded", "slow down", blobstore.ErrUnavailable, blobstore.ErrUnknownOutcome, blobstore.ErrUnknownOutcome},
		{500, "internalError", "", blobstore.ErrUnavailable, blobstore.ErrUnknownOutcome, blobstore.ErrUnknownOutcome},
		{502, "", "", blobstore.ErrUnavailable, blobstore.ErrUnknownOutcome, blobstore.ErrUnknownOutcome},
		{503, "backendError", "", blobstore.ErrUnavailable, blobstore.ErrUnknownOutcome, blobstore.ErrUnknownOutcome},
		{504, "", "", blobstore.ErrUnavailable, blobstore.ErrUnknownOutcome, blobstore.ErrUnknownOutcome},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%d %s", test.status, test.reason), func(t *testing.T) {
			s, requests := answering(t, test.status, refusal(test.status, test.reason, test.message))
			_, statErr := s.Stat(t.Context(), "k")
			_, createErr := s.Put(t.Context(), "k", []byte("x"), blobstore.IfAbsent())
			_, swapErr := s.Put(t.Context(), "k", []byte("x"), blobstore.IfMatch("1"))
			_, _, pollErr := s.Get(t.Context(), "k", blobstore.GetOptions{IfChanged: "1"})
			for op, pair := range map[string][2]error{
				"stat": {statErr, test.read}, "poll": {pollErr, test.read}, "create": {createErr, test.create}, "swap": {swapErr, test.swap},
			} {
				storetest.WantKind(t, op, pair[0], pair[1])
			}
			if got := requests.Load(); got != 4 {
				t.Errorf("%d requests for four calls: something retries", got)
			}
			if test.message == "" { // a read of the body is refused in other words
				_, _, getErr := s.Get(t.Context(), "k", blobstore.GetOptions{})
				storetest.WantKind(t, "get", getErr, test.read)
			}
		})
	}
}

func TestAReadTellsAMissingBucketFromAMissingBlob(t *testing.T) {
	const xml = "<?xml version='1.0' encoding='UTF-8'?><Error><Code>%s</Code><Message>%s</Message></Error>"
	s, _ := answering(t, 404, fmt.Sprintf(xml, "NoSuchKey", "The specified key does not exist."))
	storetest.WantKind(t, "get", read(t.Context(), s, blobstore.GetOptions{}), blobstore.ErrNotFound)
	s, _ = answering(t, 404, fmt.Sprintf(xml, "NoSuchBucket", "The specified bucket does not exist."))
	storetest.WantKind(t, "get", read(t.Context(), s, blobstore.GetOptions{}), blobstore.ErrInvalid)
}

func TestAnswersWithoutAGenerationAreNotTrusted(t *testing.T) {
	s, _ := answering(t, 200, `{}`)
	_, _, err := s.Get(t.Context(), "k", blobstore.GetOptions{})
	storetest.WantKind(t, "get", err, blobstore.ErrUnavailable)
	_, err = s.Put(t.Context(), "k", nil, blobstore.Always)
	storetest.WantKind(t, "put", err, blobstore.ErrUnavailable)
	_, err = s.Put(t.Context(), "k", nil, blobstore.IfAbsent())
	storetest.WantKind(t, "create", err, blobstore.ErrUnknownOutcome)
}

func TestTokensOfOtherStoresMatchNothing(t *testing.T) {
	s, requests := answering(t, 500, "")
	for _, token := range []blobstore.Token{"0", "-1", `"etag"`, "1.5"} {
		_, err := s.Put(t.Context(), "k", nil, blobstore.IfMatch(token))
		storetest.WantKind(t, "swap", err, blobstore.ErrPrecondition)
	}
	if got := requests.Load(); got != 0 {
		t.Errorf("%d requests", got)
	}
}

func TestBodyThatBreaksOffIsNotAskedForAgain(t *testing.T) {
	requests := new(atomic.Int64)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		w.Header().Set("Content-Length", "100")
		w.Header().Set("X-Goog-Generation", "7")
		_, _ = io.WriteString(w, "only this")
	}))
	defer srv.Close()
	_, _, err := blobstore.ReadAll(t.Context(), openAt(t, srv.URL), "k", 1000)
	storetest.WantKind(t, "read", err, blobstore.ErrUnavailable)
	if !errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %q, want one line that says the connection broke", err)
	}
	if got := requests.Load(); got != 1 {
		t.Errorf("%d requests for one read", got)
	}
}

func TestCorruptBodyIsNoticed(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Goog-Generation", "7")
		w.Header().Set("X-Goog-Hash", "crc32c=AAAAAA==")
		_, _ = io.WriteString(w, "not what the checksum is of")
	}))
	defer srv.Close()
	_, _, err := blobstore.ReadAll(t.Context(), openAt(t, srv.URL), "k", 1000)
	storetest.WantKind(t, "read", err, blobstore.ErrUnavailable)
}

func TestErrorsTellInOneLineWhatTheStoreSaid(t *testing.T) {
	get := func(s *Store) error { _, _, err := s.Get(t.Context(), "key", blobstore.GetOptions{}); return err }
	put := func(s *Store) error { _, err := s.Put(t.Context(), "key", nil, blobstore.IfAbsent()); return err }
	tests := []struct {
		status int
		body   string
		do     func(*Store) error
		want   string
	}{
		{403, refusal(403, "forbidden", "made\nup"), put, "put key: access denied: forbidden: made up"},
		{403, "<?xml version='1.0' encoding='UTF-8'?><Error><Code>AccessDenied</Code><Message>Access denied.</Message></Error>",
			get, "get key: access denied: AccessDenied: Access denied."},
		{502, "<html>\n<h1>a page</h1>", put, "put key: outcome of the write unknown: HTTP status 502 Bad Gateway"},
		{404, "", get, "get key: not found: HTTP status 404 Not Found"},
	}
	for _, test := range tests {
		s, _ := answering(t, test.status, test.body)
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

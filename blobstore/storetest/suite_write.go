package storetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
)

func testBodyReuse(t *testing.T, s blobstore.Store) {
	body := []byte("original")
	if _, err := s.Put(t.Context(), "k", body, blobstore.Always); err != nil {
		t.Fatal(err)
	}
	copy(body, "scribble")
	got, _ := read(t, s, "k")
	wantBody(t, "get", got, []byte("original"))
	copy(got, "YYYYYYYY")
	got, _ = read(t, s, "k")
	wantBody(t, "get again", got, []byte("original"))
}

// testBodyAgain sends one slice again and again, as blobstore.Retry does.
func testBodyAgain(t *testing.T, s blobstore.Store) {
	const key = "packs/aa/again"
	want := noise(5, 1<<20)
	body := bytes.Clone(want)
	old := put(t, s, key, "something else")
	for range 2 {
		if _, err := s.Put(t.Context(), key, body, blobstore.Always); err != nil {
			t.Fatal(err)
		}
		for _, cond := range []blobstore.Condition{blobstore.IfAbsent(), blobstore.IfMatch(old.Token)} {
			_, err := s.Put(t.Context(), key, body, cond)
			wantKind(t, "put under a condition that does not hold", err, blobstore.ErrPrecondition)
		}
		got, _ := read(t, s, key)
		wantBody(t, "get", got, want)
	}
	wantBody(t, "the caller's body", body, want)
}

// testKnownHash: a wrong hash writes nothing, or does not matter.
func testKnownHash(t *testing.T, s blobstore.Store) {
	body := noise(6, 100<<10)
	for key, cond := range map[string]blobstore.Condition{"always": blobstore.Always, "absent": blobstore.IfAbsent()} {
		if _, err := s.Put(t.Context(), key, body, cond.Hashed(sha256.Sum256(body))); err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		got, _ := read(t, s, key)
		wantBody(t, key, got, body)
	}
	if _, err := s.Put(t.Context(), "wrong", body, blobstore.Always.Hashed(sha256.Sum256(nil))); err != nil {
		wantKind(t, "put with a wrong hash", err, blobstore.ErrInvalid)
		_, err = s.Stat(t.Context(), "wrong")
		wantKind(t, "stat of what was refused", err, blobstore.ErrNotFound)
		return
	}
	got, _ := read(t, s, "wrong")
	wantBody(t, "with a wrong hash", got, body)
}

// SignsKnownHash checks that a store signs the hash that it is told, and does not
// compute it: the server refuses a wrong one.
func SignsKnownHash(t *testing.T, s blobstore.Store) {
	t.Helper()
	_, err := s.Put(t.Context(), "wrong", noise(6, 100<<10), blobstore.Always.Hashed(sha256.Sum256(nil)))
	wantKind(t, "put with a wrong hash", err, blobstore.ErrInvalid)
}

func testOverwrite(t *testing.T, s blobstore.Store) {
	seen := map[blobstore.Token]bool{}
	var last time.Time
	for i := range 20 {
		attrs := put(t, s, "k", fmt.Sprintf("version %02d", i)) // all of one size
		if seen[attrs.Token] {
			t.Errorf("write %d: token %s was there before", i, attrs.Token)
		}
		if attrs.Time.Before(last) {
			t.Errorf("write %d: time went from %v back to %v", i, last, attrs.Time)
		}
		seen[attrs.Token], last = true, attrs.Time
	}
	// A key that was deleted starts no new series of tokens.
	if err := s.Delete(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	if attrs := put(t, s, "k", "version 99"); seen[attrs.Token] {
		t.Errorf("after delete: token %s was there before", attrs.Token)
	}
}

func testDelete(t *testing.T, s blobstore.Store) {
	put(t, s, "dir/a", "a")
	put(t, s, "dir/b", "b")
	for _, key := range []string{"dir/a", "dir/a", "never", "never/was", "dir", "dir/b/c"} {
		if err := s.Delete(t.Context(), key); err != nil {
			t.Errorf("delete %s: %v", key, err)
		}
	}
	_, err := s.Stat(t.Context(), "dir/a")
	wantKind(t, "stat deleted", err, blobstore.ErrNotFound)
	body, _ := read(t, s, "dir/b")
	wantBody(t, "its neighbour", body, []byte("b"))
	if err := s.Delete(t.Context(), "dir/b"); err != nil {
		t.Error(err)
	}
	put(t, s, "dir", "a key where a folder was")
}

func testCreateIfAbsent(t *testing.T, s blobstore.Store) {
	ctx := t.Context()
	if _, err := s.Put(ctx, "k", []byte("first"), blobstore.IfAbsent()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		_, err := s.Put(ctx, "k", []byte("second"), blobstore.IfAbsent())
		wantKind(t, "create again", err, blobstore.ErrPrecondition)
	}
	body, _ := read(t, s, "k")
	wantBody(t, "get", body, []byte("first"))
	if err := s.Delete(ctx, "k"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(ctx, "k", []byte("third"), blobstore.IfAbsent()); err != nil {
		t.Errorf("create after delete: %v", err)
	}
}

func testCompareAndSwap(t *testing.T, s blobstore.Store) {
	ctx := t.Context()
	first := put(t, s, "k", "one")
	second, err := s.Put(ctx, "k", []byte("two"), blobstore.IfMatch(first.Token))
	if err != nil {
		t.Fatalf("swap: %v", err)
	}
	_, err = s.Put(ctx, "k", []byte("three"), blobstore.IfMatch(first.Token))
	wantKind(t, "swap against an old token", err, blobstore.ErrPrecondition)
	body, attrs := read(t, s, "k")
	wantBody(t, "get", body, []byte("two"))
	if attrs.Token != second.Token {
		t.Errorf("token %s after the swap that returned %s", attrs.Token, second.Token)
	}
	for listed, err := range s.List(ctx, "k", "") {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Put(ctx, "k", []byte("three"), blobstore.IfMatch(listed.Token)); err != nil {
			t.Errorf("swap against the token that List gave: %v", err)
		}
	}
}

func testSwapMissing(t *testing.T, s blobstore.Store) {
	ctx := t.Context()
	old := put(t, s, "k", "one")
	if err := s.Delete(ctx, "k"); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"k", "never"} {
		_, err := s.Put(ctx, key, []byte("two"), blobstore.IfMatch(old.Token))
		wantKind(t, "swap missing "+key, err, blobstore.ErrPrecondition)
		_, err = s.Stat(ctx, key)
		wantKind(t, "stat "+key, err, blobstore.ErrNotFound)
	}
}

func testCancelled(t *testing.T, s blobstore.Store) {
	put(t, s, "k", "one")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, getErr := s.Get(ctx, "k", blobstore.GetOptions{})
	_, statErr := s.Stat(ctx, "k")
	_, putErr := s.Put(ctx, "k", []byte("two"), blobstore.Always)
	_, createErr := s.Put(ctx, "new", []byte("two"), blobstore.IfAbsent())
	var listErr error
	for _, listErr = range s.List(ctx, "", "") {
	}
	errs := map[string]error{"get": getErr, "stat": statErr, "put": putErr, "create": createErr,
		"list": listErr, "delete": s.Delete(ctx, "k")}
	for op, err := range errs {
		wantKind(t, op, err, context.Canceled)
		if errors.Is(err, blobstore.ErrUnknownOutcome) {
			t.Errorf("%s: the outcome of what was not tried is known, yet %v", op, err)
		}
	}
	body, _ := read(t, s, "k")
	wantBody(t, "get", body, []byte("one"))
	_, err := s.Stat(t.Context(), "new")
	wantKind(t, "stat new", err, blobstore.ErrNotFound)
}

func (p *suite) testCancelPut(t *testing.T, s blobstore.Store) {
	want := noise(4, 8<<20)
	failed := 0
	for i := range 16 {
		cond := blobstore.Always
		if i%2 == 1 {
			cond = blobstore.IfAbsent()
		}
		key := fmt.Sprintf("cancelled/%d", i)
		// From at once to well within a write of this size, anywhere.
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*time.Millisecond)
		_, err := s.Put(ctx, key, want, cond)
		cancel()
		if err != nil {
			failed++
			wantKind(t, "put "+key, err, context.DeadlineExceeded)
		}
		body, _, readErr := blobstore.ReadAll(t.Context(), s, key, 32<<20)
		whole := readErr == nil && bytes.Equal(body, want)
		absent := errors.Is(readErr, blobstore.ErrNotFound)
		switch {
		case err == nil && !whole:
			t.Errorf("put %s succeeded, but it reads %d bytes, %v", key, len(body), readErr)
		case !whole && !absent:
			t.Errorf("put %s was cancelled and left %d bytes, %v", key, len(body), readErr)
		}
	}
	if failed == 0 {
		t.Error("no put was cancelled")
	}
	p.wantNoLeftovers(t, s)
}

package storetest

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/blobstore"
)

func testMissing(t *testing.T, s blobstore.Store) {
	put(t, s, "there/is", "something")
	for _, key := range []string{"missing", "there", "there/is/not", "there/i"} {
		_, _, err := s.Get(t.Context(), key, blobstore.GetOptions{})
		wantKind(t, "get "+key, err, blobstore.ErrNotFound)
		_, err = s.Stat(t.Context(), key)
		wantKind(t, "stat "+key, err, blobstore.ErrNotFound)
		_, _, err = s.Get(t.Context(), key, blobstore.GetOptions{Offset: 5, Length: 5, IfChanged: "x"})
		wantKind(t, "get part of "+key, err, blobstore.ErrNotFound)
	}
}

func testReadBack(t *testing.T, s blobstore.Store) {
	const key, text = "a/b/c.json", `{"hello":"world"}`
	wrote := put(t, s, key, text)
	body, got := read(t, s, key)
	wantBody(t, "get", body, []byte(text))
	stat, err := s.Stat(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	for what, attrs := range map[string]blobstore.Attrs{"put": wrote, "get": got, "stat": stat} {
		if attrs.Key != key || attrs.Size != int64(len(text)) || attrs.Token == "" || attrs.Token != wrote.Token {
			t.Errorf("%s: attributes %+v, want key %s, %d bytes, token %s", what, attrs, key, len(text), wrote.Token)
		}
		// The answer to a write may be rounded to the second, or up to it.
		if diff := attrs.Time.Sub(wrote.Time).Abs().Seconds(); attrs.Time.IsZero() || diff > 2 {
			t.Errorf("%s: time %v, %g s from the write's %v", what, attrs.Time, diff, wrote.Time)
		}
	}
	for attrs, err := range s.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		if attrs.Key != key || attrs.Size != wrote.Size || attrs.Token != wrote.Token {
			t.Errorf("list: attributes %+v, want %+v", attrs, wrote)
		}
	}
}

func testRanges(t *testing.T, s blobstore.Store) {
	const text = "0123456789"
	wrote := put(t, s, "digits", text)
	tests := []struct {
		offset, length int64
		want           string
	}{
		{0, 0, text}, {0, 1, "0"}, {0, 10, text}, {0, 99, text},
		{3, 0, "3456789"}, {3, 4, "3456"}, {3, 7, "3456789"}, {3, 99, "3456789"},
		{9, 0, "9"}, {9, 1, "9"}, {9, 5, "9"},
	}
	for _, test := range tests {
		what := fmt.Sprintf("%d+%d", test.offset, test.length)
		body, attrs, err := readPart(t.Context(), s, "digits", blobstore.GetOptions{Offset: test.offset, Length: test.length})
		if err != nil {
			t.Errorf("get %s: %v", what, err)
			continue
		}
		wantBody(t, "get "+what, body, []byte(test.want))
		if attrs.Size != 10 || attrs.Token != wrote.Token {
			t.Errorf("get %s: attributes %+v, want the whole blob's size and token", what, attrs)
		}
	}
	for _, opt := range []blobstore.GetOptions{{Offset: 10}, {Offset: 10, Length: 1}, {Offset: 99}, {Offset: -1}, {Length: -1}} {
		_, _, err := s.Get(t.Context(), "digits", opt)
		wantKind(t, fmt.Sprintf("get %+v", opt), err, blobstore.ErrInvalid)
	}
}

func testEmpty(t *testing.T, s blobstore.Store) {
	if _, err := s.Put(t.Context(), "empty", nil, blobstore.Always); err != nil {
		t.Fatal(err)
	}
	for _, opt := range []blobstore.GetOptions{{}, {Length: 10}} {
		body, attrs, err := readPart(t.Context(), s, "empty", opt)
		if err != nil || len(body) != 0 || attrs.Size != 0 || attrs.Token == "" {
			t.Errorf("get %+v: %q, %+v, %v; want nothing, no error", opt, body, attrs, err)
		}
	}
	_, _, err := s.Get(t.Context(), "empty", blobstore.GetOptions{Offset: 1})
	wantKind(t, "get past the end", err, blobstore.ErrInvalid)
}

// large is the size of a blob that an SDK would rather send in parts: four of
// the largest that Understudy writes.
const large = 64 << 20

func testLarge(t *testing.T, s blobstore.Store) {
	const key, at, length = "packs/aa/large", 61<<20 + 1, 1 << 20
	want := noise(1, large)
	attrs, err := s.Put(t.Context(), key, want, blobstore.IfAbsent())
	if err != nil {
		t.Fatal(err)
	}
	if attrs.Size != large {
		t.Errorf("size %d, want %d", attrs.Size, large)
	}
	_, err = s.Put(t.Context(), key, want[:1], blobstore.IfAbsent())
	wantKind(t, "create again", err, blobstore.ErrPrecondition)
	body, _, err := blobstore.ReadAll(t.Context(), s, key, large)
	if err != nil {
		t.Fatal(err)
	}
	wantBody(t, "get", body, want)
	part, _, err := readPart(t.Context(), s, key, blobstore.GetOptions{Offset: at, Length: length})
	if err != nil {
		t.Fatal(err)
	}
	wantBody(t, "get part", part, want[at:at+length])
	_, _, err = blobstore.ReadAll(t.Context(), s, key, large-1)
	wantKind(t, "read above the limit", err, blobstore.ErrInvalid)
}

// oddKeys are legal, in ascending byte order, and easily confused.
var oddKeys = []string{
	"!odd/a", "(x)/~y", "+plus+/a+b", "0", "A", "UPPER/lower", "a!/b", "a(1)", "a+b", "a,b", "a-b", "a-bc/c",
	"a.b", "a..b", "a/b", "a/b-c", "a/b.d/e", "a/c", "a0", "a=b", "a@b", "a_b", "aa", "b~1", "long/" + strings.Repeat("l", 200), "upper/lower", "z..z",
}

func testOddKeys(t *testing.T, s blobstore.Store) {
	for _, key := range oddKeys {
		put(t, s, key, "the body of "+key)
	}
	for _, key := range oddKeys {
		body, attrs := read(t, s, key)
		wantBody(t, key, body, []byte("the body of "+key))
		if attrs.Key != key {
			t.Errorf("key %q, want %q", attrs.Key, key)
		}
	}
}

func testBadKeys(t *testing.T, s blobstore.Store) {
	bad := []string{
		"", "/", "/absolute", "a/", "a//b", ".", "..", "../up", "a/../b", "a/..", "a/./b", ".hidden", "a/.hidden", "a../b", "z.", "a__0x2f__b",
		"space d", "back\\slash", "nul\x00", "new\nline", "ümlaut", "per%cent", "star*", "quest?ion", "hash#", "col:on", "semi;colon", "a&b",
		strings.Repeat("x", 256), strings.Repeat("x/", 500) + "x",
	}
	ctx := t.Context()
	for _, key := range bad {
		_, _, err := s.Get(ctx, key, blobstore.GetOptions{})
		wantKind(t, fmt.Sprintf("get %.20q", key), err, blobstore.ErrInvalid)
		_, err = s.Stat(ctx, key)
		wantKind(t, fmt.Sprintf("stat %.20q", key), err, blobstore.ErrInvalid)
		_, err = s.Put(ctx, key, nil, blobstore.Always)
		wantKind(t, fmt.Sprintf("put %.20q", key), err, blobstore.ErrInvalid)
		wantKind(t, fmt.Sprintf("delete %.20q", key), s.Delete(ctx, key), blobstore.ErrInvalid)
	}
	for _, prefix := range []string{"..", "../", "a/../", "/", "a//"} {
		for _, err := range s.List(ctx, prefix, "") {
			wantKind(t, fmt.Sprintf("list %q", prefix), err, blobstore.ErrInvalid)
		}
	}
}

func testIfChanged(t *testing.T, s blobstore.Store) {
	first := put(t, s, "head.json", "one")
	_, _, err := s.Get(t.Context(), "head.json", blobstore.GetOptions{IfChanged: first.Token})
	wantKind(t, "get unchanged", err, blobstore.ErrNotModified)
	second := put(t, s, "head.json", "two")
	body, attrs, err := blobstore.ReadChanged(t.Context(), s, "head.json", first.Token, 100)
	if err != nil {
		t.Fatalf("get changed: %v", err)
	}
	wantBody(t, "get changed", body, []byte("two"))
	if attrs.Token != second.Token {
		t.Errorf("token %s, want %s", attrs.Token, second.Token)
	}
	_, _, err = blobstore.ReadChanged(t.Context(), s, "head.json", second.Token, 100)
	wantKind(t, "get unchanged again", err, blobstore.ErrNotModified)
}

func testOneVersion(t *testing.T, s blobstore.Store) {
	old, fresh := noise(2, 3<<20), noise(3, 1<<20)
	if _, err := s.Put(t.Context(), "k", old, blobstore.Always); err != nil {
		t.Fatal(err)
	}
	body, _, err := s.Get(t.Context(), "k", blobstore.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	head := make([]byte, 10)
	if _, err := io.ReadFull(body, head); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), "k", fresh, blobstore.Always); err != nil {
		t.Fatal(err)
	}
	// The provider may break the old body off, but may not mix versions.
	if rest, err := io.ReadAll(body); err == nil {
		wantBody(t, "body read across a write", append(head, rest...), old)
	}
	now, _ := read(t, s, "k")
	wantBody(t, "body after the write", now, fresh)
}

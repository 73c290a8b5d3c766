package storetest

import (
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
)

// RunVersions checks the versions of a store whose bucket keeps them. s is
// empty. coarse is as exact as the store's times are.
func RunVersions(t *testing.T, s blobstore.Store, coarse time.Duration) {
	v, ok := s.(blobstore.Versions)
	if !ok {
		t.Fatalf("%T has no versions", s)
	}
	if kept, err := v.KeepsVersions(t.Context()); err != nil || !kept {
		t.Fatalf("keeps versions: %t, %v", kept, err)
	}
	h := &versioned{s: s, v: v, coarse: coarse}
	put(t, s, "a/k2", "a name that goes on")
	first := h.after(t, func() { put(t, s, "a/k", "one") })
	second := h.after(t, func() { put(t, s, "a/k", "two, longer") })
	deleted := h.after(t, func() {
		if err := s.Delete(t.Context(), "a/k"); err != nil {
			t.Fatal(err)
		}
	})
	h.testList(t)
	// A delete marker is no blob: what is created there again is.
	if _, err := s.Put(t.Context(), "a/k", []byte("three"), blobstore.IfAbsent()); err != nil {
		t.Errorf("create what was deleted: %v", err)
	}
	if _, err := s.Put(t.Context(), "a/k", []byte("four"), blobstore.IfAbsent()); !errors.Is(err, blobstore.ErrPrecondition) {
		t.Errorf("create what is there: %v", err)
	}
	h.testAsOf(t, first, "one")
	h.testAsOf(t, second, "two, longer")
	h.testAsOf(t, deleted, "")
	h.testAsOf(t, first.Add(-time.Hour), "")
}

type versioned struct {
	s      blobstore.Store
	v      blobstore.Versions
	coarse time.Duration
}

// after does something, and returns a time by the store's clock that is surely
// after it and before whatever comes next.
func (h *versioned) after(t *testing.T, do func()) time.Time {
	t.Helper()
	do()
	ticks := func() (now time.Time) {
		put(t, h.s, "clock", "tick") // whose answer may be less exact than a list
		for v, err := range blobstore.VersionsOf(t.Context(), h.v, "clock") {
			if err != nil {
				t.Fatalf("list versions: %v", err)
			}
			return v.Time
		}
		return now
	}
	start := ticks()
	for {
		if now := ticks(); now.Sub(start) > 2*h.coarse {
			return now.Add(-h.coarse)
		}
	}
}

func (h *versioned) testList(t *testing.T) {
	t.Helper()
	var found []blobstore.Version
	for v, err := range blobstore.VersionsOf(t.Context(), h.v, "a/k") {
		if err != nil {
			t.Fatalf("list versions: %v", err)
		}
		found = append(found, v)
	}
	if len(found) != 3 || !found[0].Deleted || found[1].Deleted || found[2].Deleted || found[1].Size != 11 || found[2].Size != 3 {
		t.Fatalf("versions %+v, want a deletion and two bodies, the newest first", found)
	}
	for i, want := range []string{"", "two, longer", "one"} {
		if want != "" {
			h.wantVersion(t, found[i].ID, want)
		}
	}
	var keys []string
	for v, err := range h.v.Versions(t.Context(), "a/") {
		if err != nil {
			t.Fatalf("list versions: %v", err)
		}
		if !slices.Contains(keys, v.Key) {
			keys = append(keys, v.Key)
		}
	}
	wantKeys(t, "versions below a folder", keys, []string{"a/k", "a/k2"})
}

func (h *versioned) wantVersion(t *testing.T, id, want string) {
	t.Helper()
	for _, opt := range []blobstore.GetOptions{{}, {Offset: 1, Length: 2}, {Offset: 2}} {
		body, attrs, err := h.v.GetVersion(t.Context(), "a/k", id, opt)
		if err != nil {
			t.Errorf("get version %+v: %v", opt, err)
			continue
		}
		got, err := io.ReadAll(body)
		part := want[opt.Offset:]
		if opt.Length > 0 {
			part = part[:opt.Length]
		}
		if err := errors.Join(err, body.Close()); err != nil || string(got) != part || attrs.Size != int64(len(want)) {
			t.Errorf("version %+v is %q of %d bytes (%v), want %q of %d", opt, got, attrs.Size, err, part, len(want))
		}
	}
}

// testAsOf checks what the store had at a time; "" is no blob.
func (h *versioned) testAsOf(t *testing.T, at time.Time, want string) {
	t.Helper()
	past, err := blobstore.AsOf(t.Context(), h.s, at)
	if err != nil {
		t.Fatal(err)
	}
	listed := slices.Contains(list(t, past, "a/", ""), "a/k")
	body, _, err := blobstore.ReadAll(t.Context(), past, "a/k", 100)
	if want == "" {
		wantKind(t, "read what was not there", err, blobstore.ErrNotFound)
	} else if err != nil || string(body) != want {
		t.Errorf("as of %s: %q, %v; want %q", at, body, err, want)
	}
	if listed != (want != "") {
		t.Errorf("as of %s: listed %t, want %q", at, listed, want)
	}
	_, err = past.Put(t.Context(), "a/k", nil, blobstore.Always)
	wantKind(t, "write into the past", errors.Join(err, past.Delete(t.Context(), "a/k")), blobstore.ErrInvalid)
}

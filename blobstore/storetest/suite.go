package storetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/understudy-ha/understudy/blobstore"
)

// Option tells the suite what it cannot see through a store.
type Option func(*suite)

// Leftovers makes the suite ask find, whenever writes have failed or were
// cancelled, what they left at the provider besides blobs: uploads that nobody
// completes, blocks that nobody commits, temporary files. find looks behind
// the store's back and returns a name for each.
func Leftovers(find func(t *testing.T, s blobstore.Store) []string) Option {
	return func(p *suite) { p.leftovers = find }
}

// The tests that take long.
const (
	LargeBlob = "sixty-four MiB go in one put"
	LongList  = "a long list is whole"
)

// Except leaves tests out, by their names. It is for a second run against a
// variant of a server, which need not repeat what takes long and cannot differ.
func Except(names ...string) Option {
	return func(p *suite) { p.except = append(p.except, names...) }
}

// suite is what is known of a provider besides how to open its stores.
type suite struct {
	leftovers func(t *testing.T, s blobstore.Store) []string
	except    []string
}

func newSuite(options []Option) *suite {
	p := &suite{leftovers: func(*testing.T, blobstore.Store) []string { return nil }}
	for _, option := range options {
		option(p)
	}
	return p
}

// wantNoLeftovers checks that failed writes left nothing.
func (p *suite) wantNoLeftovers(t *testing.T, s blobstore.Store) {
	t.Helper()
	if left := p.leftovers(t, s); len(left) > 0 {
		t.Errorf("writes that failed left behind %q", left)
	}
}

// Run is the conformance suite: it checks that a provider keeps each promise
// of blobstore.Store. open returns an empty store; every subtest opens one of
// its own. RunProcesses checks what holds between processes, and RunNetwork
// what holds when the network fails.
func Run(t *testing.T, open func(t *testing.T) blobstore.Store, options ...Option) {
	p := newSuite(options)
	tests := []struct {
		name string
		test func(*testing.T, blobstore.Store)
	}{
		{"a missing key is not found", testMissing},
		{"a blob reads as it was written", testReadBack},
		{"a range reads its bytes", testRanges},
		{"an empty blob is a blob", testEmpty},
		{LargeBlob, testLarge},
		{"odd keys are kept apart", testOddKeys},
		{"bad keys are refused", testBadKeys},
		{"get if changed transfers nothing for nothing", testIfChanged},
		{"put keeps no reference to the body", testBodyReuse},
		{"a body can be sent again", testBodyAgain},
		{"a hash that is known is signed, or not needed", testKnownHash},
		{"overwriting changes token and time", testOverwrite},
		{"a reader sees one version", testOneVersion},
		{"deleting is idempotent", testDelete},
		{"create if absent happens once", testCreateIfAbsent},
		{"compare and swap follows the token", testCompareAndSwap},
		{"compare and swap needs a blob", testSwapMissing},
		{"one of many creators wins", testContendedCreate},
		{"one of many swappers wins", testContendedSwap},
		{"a counter loses no increment", testCounter},
		{"a list is in byte order", testListOrder},
		{"a list is cut by prefix and start", testListCut},
		{LongList, testListLong},
		{"a list stops when told", testListStop},
		{"a cancelled context does nothing", testCancelled},
		{"a cancelled put is all or nothing", p.testCancelPut},
	}
	for _, test := range tests {
		if slices.Contains(p.except, test.name) {
			continue
		}
		t.Run(test.name, func(t *testing.T) { test.test(t, open(t)) })
	}
}

// put writes a blob, unconditionally.
func put(t *testing.T, s blobstore.Store, key, body string) blobstore.Attrs {
	t.Helper()
	attrs, err := s.Put(t.Context(), key, []byte(body), blobstore.Always)
	if err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
	return attrs
}

// read reads a blob whole.
func read(t *testing.T, s blobstore.Store, key string) ([]byte, blobstore.Attrs) {
	t.Helper()
	body, attrs, err := blobstore.ReadAll(t.Context(), s, key, 1<<20)
	if err != nil {
		t.Fatalf("read %s: %v", key, err)
	}
	return body, attrs
}

// readPart reads what opt asks for.
func readPart(ctx context.Context, s blobstore.Store, key string, opt blobstore.GetOptions) ([]byte, blobstore.Attrs, error) {
	body, attrs, err := s.Get(ctx, key, opt)
	if err != nil {
		return nil, attrs, err
	}
	data, err := io.ReadAll(body)
	return data, attrs, errors.Join(err, body.Close())
}

// wantKind checks that err is an *Error of the kind.
func wantKind(t *testing.T, what string, err, kind error) {
	t.Helper()
	var known *blobstore.Error
	if !errors.Is(err, kind) || !errors.As(err, &known) {
		t.Errorf("%s: error %v, want a *blobstore.Error that is %v", what, err, kind)
	}
}

func wantBody(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		if len(got)+len(want) < 200 {
			t.Errorf("%s: body %q, want %q", what, got, want)
		} else {
			t.Errorf("%s: body of %d bytes differs from the %d wanted", what, len(got), len(want))
		}
	}
}

// noise returns n bytes that no store can compress, always the same for a seed.
func noise(seed uint64, n int) []byte {
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	data := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(data) // never fails
	return data
}

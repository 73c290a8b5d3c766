package storetest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/understudy-ha/understudy/blobstore"
)

const (
	contenders = 24
	rounds     = 12
)

// race starts n goroutines at one moment and waits for them.
func race(n int, run func(i int)) {
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			run(i)
		})
	}
	close(start)
	wg.Wait()
}

// contend lets many goroutines write one key under one condition, and checks
// that exactly one of them won and that its body is what stayed.
// The round is the nonce that keeps a store's tokens apart which are hashes of
// the content.
func contend(t *testing.T, s blobstore.Store, key string, round int, cond blobstore.Condition) {
	t.Helper()
	errs := make([]error, contenders)
	body := func(i int) []byte { return fmt.Appendf(nil, "%s in round %d by contender %d", key, round, i) }
	race(contenders, func(i int) { _, errs[i] = s.Put(t.Context(), key, body(i), cond) })
	got, _ := read(t, s, key)
	winners := 0
	for i, err := range errs {
		switch {
		case err == nil:
			winners++
			wantBody(t, "winner's body", got, body(i))
		case errors.Is(err, blobstore.ErrUnknownOutcome):
			// Allowed, but then the body decides.
			if string(got) == string(body(i)) {
				winners++
			}
		default:
			wantKind(t, fmt.Sprintf("contender %d", i), err, blobstore.ErrPrecondition)
		}
	}
	if winners != 1 {
		t.Errorf("%s: %d of %d contenders won", key, winners, contenders)
	}
}

func testContendedCreate(t *testing.T, s blobstore.Store) {
	for round := range rounds {
		contend(t, s, fmt.Sprintf("create/%d", round), round, blobstore.IfAbsent())
	}
}

func testContendedSwap(t *testing.T, s blobstore.Store) {
	attrs := put(t, s, "swap", "start")
	for round := range rounds {
		contend(t, s, "swap", round, blobstore.IfMatch(attrs.Token))
		_, attrs = read(t, s, "swap")
	}
}

func testCounter(t *testing.T, s blobstore.Store) {
	const writers, each = 20, 5
	errs := make([]error, writers)
	race(writers, func(i int) {
		for n := 0; n < each && errs[i] == nil; n++ {
			errs[i] = increment(t.Context(), s, "counter", fmt.Sprintf("%d-%d", i, n))
		}
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if got := readCounter(t, s, "counter"); got != writers*each {
		t.Errorf("counter is %d after %d increments", got, writers*each)
	}
}

// increment adds one to a counter by create-if-absent and compare-and-swap.
// The counter is a line for each increment, with its nonce: that settles what
// became of a write whose outcome was unknown.
func increment(ctx context.Context, s blobstore.Store, key, nonce string) error {
	for {
		body, attrs, err := blobstore.ReadAll(ctx, s, key, 1<<20)
		cond := blobstore.IfMatch(attrs.Token)
		switch {
		case errors.Is(err, blobstore.ErrNotFound):
			cond = blobstore.IfAbsent()
		case err != nil:
			return fmt.Errorf("read counter: %w", err)
		case counted(body, nonce):
			return nil // an earlier attempt has landed after all
		}
		_, err = s.Put(ctx, key, append(body, nonce+"\n"...), cond)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, blobstore.ErrPrecondition), errors.Is(err, blobstore.ErrUnknownOutcome):
		default:
			return fmt.Errorf("write counter: %w", err)
		}
	}
}

func counted(body []byte, nonce string) bool {
	for line := range strings.Lines(string(body)) {
		if strings.TrimSuffix(line, "\n") == nonce {
			return true
		}
	}
	return false
}

// readCounter returns the number of increments, and checks that none is there
// twice.
func readCounter(t *testing.T, s blobstore.Store, key string) int {
	t.Helper()
	body, _ := read(t, s, key)
	seen := map[string]bool{}
	for line := range strings.Lines(string(body)) {
		if seen[line] {
			t.Errorf("increment %s counted twice", strconv.Quote(line))
		}
		seen[line] = true
	}
	return len(seen)
}

package storetest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
)

// Dial opens one store through the server's endpoint, or through a proxy's:
// a URL like http://127.0.0.1:9000.
type Dial func(endpoint string) blobstore.Store

// RunNetwork is the part of the suite about networks that fail, for providers
// whose stores are reached by HTTP. endpoint is the server's; prepare makes an
// empty store, for each subtest another, and returns how to open it.
func RunNetwork(t *testing.T, endpoint string, prepare func(t *testing.T) Dial, options ...Option) {
	p := newSuite(options)
	tests := []struct {
		name string
		test func(*testing.T, *network)
	}{
		{"a lost answer leaves the outcome unknown", testLostAnswer},
		{"a lost answer is resolved by asking again", testLostResolved},
		{"a late write lands while its token stands", testLateWrite},
		{"a late write is too late once the token has changed", testTooLateWrite},
		{"an unconditional put can be repeated", testRepeatedPut},
		{"a body can be sent again after it was sent", testResentBody},
		{"reads and deletes can be repeated", testRepeatedReads},
		{"answers have their kinds and are not asked for twice", testAnswerKinds},
		{"a body that is cut short is an error", testCutBody},
		{"a body that is cut short goes on where it broke", testResumedBody},
		{"a part that is not the one asked for is an error", testIgnoredRange},
		{"a put that is cancelled in mid-body leaves nothing", testCancelMidBody},
		{"what a stale read tells swaps nothing", testStaleRead},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dial, proxy := prepare(t), NewProxy(t, endpoint)
			test.test(t, &network{suite: p, Proxy: proxy, s: dial(proxy.URL()), behind: dial(endpoint)})
		})
	}
}

// network is a store through a proxy, and behind its back.
type network struct {
	*suite
	*Proxy
	s, behind blobstore.Store
}

// strike injects a fault for the next requests of a kind.
func (n *network) strike(when func(*http.Request) bool, times int, do NetAction) {
	n.Inject(NetFault{When: when, Times: times, Do: do})
}

// wantWrites checks how many writing requests there were since the last time.
func (n *network) wantWrites(t *testing.T, what string, want int) {
	t.Helper()
	got := 0
	for _, r := range n.Requests() {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			got++
		}
	}
	if got != want {
		t.Errorf("%s: %d requests to write, want %d: does the SDK retry?", what, got, want)
	}
}

func testLostAnswer(t *testing.T, n *network) {
	n.strike(Writing, 2, DropAnswer())
	_, err := n.s.Put(t.Context(), "head.json", []byte("one"), blobstore.IfAbsent())
	WantKind(t, "create", err, blobstore.ErrUnknownOutcome)
	n.wantWrites(t, "create", 1)
	body, attrs := read(t, n.behind, "head.json")
	wantBody(t, "what was created", body, []byte("one"))

	_, err = n.s.Put(t.Context(), "head.json", []byte("two"), blobstore.IfMatch(attrs.Token))
	WantKind(t, "swap", err, blobstore.ErrUnknownOutcome)
	n.wantWrites(t, "swap", 1)
	body, _ = read(t, n.behind, "head.json")
	wantBody(t, "what was swapped in", body, []byte("two"))
}

// testLostResolved does what the head's writers do: write again against the
// same token until it has changed, then read whose nonce is there.
func testLostResolved(t *testing.T, n *network) {
	first := put(t, n.s, "head.json", "zero")
	n.strike(Writing, 1, DropAnswer())
	_, err := n.s.Put(t.Context(), "head.json", []byte("one, nonce a"), blobstore.IfMatch(first.Token))
	WantKind(t, "swap", err, blobstore.ErrUnknownOutcome)
	_, err = n.s.Put(t.Context(), "head.json", []byte("one, nonce b"), blobstore.IfMatch(first.Token))
	WantKind(t, "swap again", err, blobstore.ErrPrecondition)
	body, attrs := read(t, n.s, "head.json")
	wantBody(t, "the one that won", body, []byte("one, nonce a"))
	if _, err := n.s.Put(t.Context(), "head.json", []byte("two"), blobstore.IfMatch(attrs.Token)); err != nil {
		t.Errorf("swap against the resolved token: %v", err)
	}
}

// putHeld puts through a proxy that holds the request, and gives up as soon as
// it does.
func (n *network) putHeld(t *testing.T, key, body string, cond blobstore.Condition) *HeldRequest {
	t.Helper()
	hold, held := HoldRequest()
	n.strike(Writing, 1, hold)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		select {
		case <-held.Arrived():
			cancel()
		case <-ctx.Done():
		}
	}()
	_, err := n.s.Put(ctx, key, []byte(body), cond)
	WantKind(t, "put that is given up", err, blobstore.ErrUnknownOutcome)
	wantKind(t, "put that is given up", err, context.Canceled)
	return held
}

// land lets a held request reach the server and checks whether it was
// accepted.
func land(t *testing.T, held *HeldRequest, accepted bool) {
	t.Helper()
	status, err := held.Land(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if (status < http.StatusMultipleChoices) != accepted {
		t.Errorf("the late request was answered with %d, want it accepted: %v", status, accepted)
	}
}

func testLateWrite(t *testing.T, n *network) {
	held := n.putHeld(t, "head.json", "one", blobstore.IfAbsent())
	_, err := n.s.Stat(t.Context(), "head.json")
	WantKind(t, "stat before the create lands", err, blobstore.ErrNotFound)
	land(t, held, true)
	body, attrs := read(t, n.s, "head.json")
	wantBody(t, "after the create landed", body, []byte("one"))

	held = n.putHeld(t, "head.json", "two", blobstore.IfMatch(attrs.Token))
	body, _ = read(t, n.s, "head.json")
	wantBody(t, "before the swap lands", body, []byte("one"))
	land(t, held, true)
	body, _ = read(t, n.s, "head.json")
	wantBody(t, "after the swap landed", body, []byte("two"))
}

func testTooLateWrite(t *testing.T, n *network) {
	created := n.putHeld(t, "head.json", "late create", blobstore.IfAbsent())
	first, err := n.s.Put(t.Context(), "head.json", []byte("one"), blobstore.IfAbsent())
	if err != nil {
		t.Fatal(err)
	}
	swapped := n.putHeld(t, "head.json", "late swap", blobstore.IfMatch(first.Token))
	if _, err := n.s.Put(t.Context(), "head.json", []byte("two"), blobstore.IfMatch(first.Token)); err != nil {
		t.Fatal(err)
	}
	land(t, created, false)
	land(t, swapped, false)
	body, _ := read(t, n.s, "head.json")
	wantBody(t, "after both landed", body, []byte("two"))
}

func testRepeatedPut(t *testing.T, n *network) {
	for range 2 {
		n.strike(Writing, 1, DropAnswer())
		_, err := n.s.Put(t.Context(), "packs/aa/p", []byte("pack"), blobstore.Always)
		WantKind(t, "put", err, blobstore.ErrUnavailable)
		n.wantWrites(t, "put", 1)
		attrs := put(t, n.s, "packs/aa/p", "pack")
		body, read := read(t, n.behind, "packs/aa/p")
		wantBody(t, "after the second put", body, []byte("pack"))
		if attrs.Token != read.Token {
			t.Errorf("the second put returned token %s, the blob has %s", attrs.Token, read.Token)
		}
		n.Requests()
	}
}

func testResentBody(t *testing.T, n *network) {
	want := noise(6, 3<<20)
	s := blobstore.Retry(n.s, blobstore.RetryOptions{First: time.Millisecond, Max: time.Millisecond})
	n.strike(Writing, 2, Answer(http.StatusServiceUnavailable))
	n.strike(Writing, 2, DropAnswer())
	if _, err := s.Put(t.Context(), "packs/aa/p", want, blobstore.Always); err != nil {
		t.Fatal(err)
	}
	n.wantWrites(t, "put with four failures", 5)
	body, _, err := blobstore.ReadAll(t.Context(), n.behind, "packs/aa/p", 4<<20)
	if err != nil {
		t.Fatal(err)
	}
	wantBody(t, "what arrived", body, want)
}

// requestsOf are the operations, each as one request that takes nothing for
// granted but a blob "k".
func requestsOf(ctx context.Context, s blobstore.Store) map[string]func() error {
	return map[string]func() error{
		"get": func() error {
			_, _, err := blobstore.ReadAll(ctx, s, "k", 1<<20)
			return err
		},
		"stat":   func() error { _, err := s.Stat(ctx, "k"); return err },
		"delete": func() error { return s.Delete(ctx, "k") },
		"put":    func() error { _, err := s.Put(ctx, "k", []byte("x"), blobstore.Always); return err },
		"list": func() error {
			for _, err := range s.List(ctx, "", "") {
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func testRepeatedReads(t *testing.T, n *network) {
	for op, do := range requestsOf(t.Context(), n.s) {
		put(t, n.behind, "k", "x")
		n.strike(nil, Forever, DropAnswer()) // net/http itself repeats a read, once
		WantKind(t, op, do(), blobstore.ErrUnavailable)
		n.Heal()
		if err := do(); err != nil {
			t.Errorf("%s again: %v", op, err)
		}
	}
}

func testAnswerKinds(t *testing.T, n *network) {
	first := put(t, n.behind, "k", "one")
	tests := []struct {
		status int
		// What requests without a condition (nil: none gets such an answer)
		// make of it, and those with one.
		plain, conditional error
	}{
		{http.StatusBadRequest, blobstore.ErrInvalid, blobstore.ErrInvalid},
		{http.StatusUnauthorized, blobstore.ErrDenied, blobstore.ErrDenied},
		{http.StatusForbidden, blobstore.ErrDenied, blobstore.ErrDenied},
		{http.StatusConflict, blobstore.ErrUnavailable, blobstore.ErrUnknownOutcome},
		{http.StatusTooManyRequests, blobstore.ErrUnavailable, blobstore.ErrUnknownOutcome},
		{http.StatusInternalServerError, blobstore.ErrUnavailable, blobstore.ErrUnknownOutcome},
		{http.StatusBadGateway, blobstore.ErrUnavailable, blobstore.ErrUnknownOutcome},
		{http.StatusServiceUnavailable, blobstore.ErrUnavailable, blobstore.ErrUnknownOutcome},
		{http.StatusGatewayTimeout, blobstore.ErrUnavailable, blobstore.ErrUnknownOutcome},
		{http.StatusPreconditionFailed, nil, blobstore.ErrPrecondition},
	}
	for _, test := range tests {
		n.strike(nil, Forever, Answer(test.status))
		n.Requests()
		for op, do := range requestsOf(t.Context(), n.s) {
			if test.plain == nil {
				break
			}
			WantKind(t, fmt.Sprintf("%s answered with %d", op, test.status), do(), test.plain)
			if got := len(n.Requests()); got != 1 {
				t.Errorf("%s answered with %d: %d requests, want one", op, test.status, got)
			}
		}
		for what, cond := range map[string]blobstore.Condition{"create": blobstore.IfAbsent(), "swap": blobstore.IfMatch(first.Token)} {
			_, err := n.s.Put(t.Context(), "k", []byte("two"), cond)
			WantKind(t, fmt.Sprintf("%s answered with %d", what, test.status), err, test.conditional)
			n.wantWrites(t, fmt.Sprintf("%s answered with %d", what, test.status), 1)
		}
		n.Heal()
	}
	body, _ := read(t, n.s, "k")
	wantBody(t, "after all that", body, []byte("one"))
}

// testResumedBody: what came of a body is not asked for again.
func testResumedBody(t *testing.T, n *network) {
	want := noise(8, 1<<20)
	if _, err := n.behind.Put(t.Context(), "packs/aa/p", want, blobstore.Always); err != nil {
		t.Fatal(err)
	}
	s := blobstore.Retry(n.s, blobstore.RetryOptions{First: time.Millisecond, Max: time.Millisecond})
	for _, opt := range []blobstore.GetOptions{{}, {Offset: 1000, Length: 700_000}, {Offset: 5}} {
		n.strike(Reading, 2, CutBody(300_000))
		body, _, err := s.Get(t.Context(), "packs/aa/p", opt)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(body)
		_ = body.Close()
		if err != nil {
			t.Fatalf("read %+v, whose body breaks off twice: %v", opt, err)
		}
		part := want[opt.Offset:]
		if opt.Length > 0 {
			part = part[:opt.Length]
		}
		wantBody(t, "what broke off and went on", got, part)
		n.Heal()
	}
	n.strike(Reading, 1, CutBody(300_000))
	body, _, err := s.Get(t.Context(), "packs/aa/p", blobstore.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if _, err := n.behind.Put(t.Context(), "packs/aa/p", noise(9, 1<<20), blobstore.Always); err != nil {
		t.Fatal(err)
	}
	_, err = io.ReadAll(body)
	WantKind(t, "read what was replaced meanwhile", err, blobstore.ErrUnavailable)
}

// testIgnoredRange: who heeds no ranges answers with the whole blob, which is not to be
// taken for its part.
func testIgnoredRange(t *testing.T, n *network) {
	if _, err := n.behind.Put(t.Context(), "k", noise(11, 10_000), blobstore.Always); err != nil {
		t.Fatal(err)
	}
	for _, opt := range []blobstore.GetOptions{{Offset: 5}, {Offset: 5, Length: 7}, {Length: 7}} {
		n.strike(Reading, 1, WholeBody())
		body, _, err := n.s.Get(t.Context(), "k", opt)
		if err == nil {
			_ = body.Close()
		}
		WantKind(t, fmt.Sprintf("read %+v", opt), err, blobstore.ErrUnavailable)
		n.Heal()
	}
	n.strike(Reading, 1, WholeBody())
	body, attrs, err := n.s.Get(t.Context(), "k", blobstore.GetOptions{Length: 20_000}) // all of it is the part
	if err != nil || attrs.Size != 10_000 {
		t.Fatalf("read more than there is: %+v, %v", attrs, err)
	}
	defer body.Close()
	got, err := io.ReadAll(body)
	if err != nil {
		t.Error(err)
	}
	wantBody(t, "read more than there is", got, noise(11, 10_000))
}

func testCutBody(t *testing.T, n *network) {
	const size = 300_000
	if _, err := n.s.Put(t.Context(), "k", noise(7, size), blobstore.Always); err != nil {
		t.Fatal(err)
	}
	for _, cut := range []int{0, 1, size / 2, size - 1} {
		n.strike(Reading, 1, CutBody(cut))
		_, _, err := blobstore.ReadAll(t.Context(), n.s, "k", size)
		WantKind(t, fmt.Sprintf("read cut after %d bytes", cut), err, blobstore.ErrUnavailable)
	}
	body, _, err := blobstore.ReadAll(t.Context(), n.s, "k", size)
	if err != nil {
		t.Fatal(err)
	}
	wantBody(t, "read afterwards", body, noise(7, size))
}

func testCancelMidBody(t *testing.T, n *network) {
	want := noise(8, 8<<20)
	conds := map[string]blobstore.Condition{"packs/aa/put": blobstore.Always, "created": blobstore.IfAbsent()}
	for key, cond := range conds {
		stall, gate := StallBody(1 << 20)
		n.strike(Writing, 1, stall)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			select {
			case <-gate.Arrived():
				cancel()
			case <-t.Context().Done():
			}
		}()
		_, err := n.s.Put(ctx, key, want, cond)
		wantKind(t, "put "+key, err, context.Canceled)
		n.Heal()
		_, err = n.behind.Stat(t.Context(), key)
		WantKind(t, "stat "+key, err, blobstore.ErrNotFound)
	}
	n.wantNoLeftovers(t, n.behind)
	wantKeys(t, "what is there", list(t, n.behind, "", ""), []string{})
	for key, cond := range conds { // and nothing is in the way
		if _, err := n.s.Put(t.Context(), key, want[:1], cond); err != nil {
			t.Errorf("put %s after it was cancelled: %v", key, err)
		}
	}
}

func testStaleRead(t *testing.T, n *network) {
	put(t, n.s, "head.json", "one")
	n.Inject(NetFault{Times: Forever, Do: StaleReads()})
	body, old := read(t, n.s, "head.json")
	wantBody(t, "first read", body, []byte("one"))
	if _, err := n.s.Put(t.Context(), "head.json", []byte("two"), blobstore.IfMatch(old.Token)); err != nil {
		t.Fatal(err)
	}
	if _, err := n.s.Put(t.Context(), "new", []byte("x"), blobstore.IfAbsent()); err != nil {
		t.Fatal(err)
	}
	body, stale := read(t, n.s, "head.json")
	if !bytes.Equal(body, []byte("one")) || stale.Token != old.Token {
		t.Fatalf("the proxy serves %q, which is not stale", body)
	}
	_, err := n.s.Stat(t.Context(), "new")
	WantKind(t, "stale stat of what is new", err, blobstore.ErrNotFound)
	wantKeys(t, "stale list", list(t, n.s, "", ""), []string{"head.json"})
	_, err = n.s.Put(t.Context(), "head.json", []byte("three"), blobstore.IfMatch(stale.Token))
	WantKind(t, "swap against a stale token", err, blobstore.ErrPrecondition)
	_, err = n.s.Put(t.Context(), "new", []byte("y"), blobstore.IfAbsent())
	WantKind(t, "create what a stale read did not see", err, blobstore.ErrPrecondition)
	n.Heal()
	body, _ = read(t, n.s, "head.json")
	wantBody(t, "fresh read", body, []byte("two"))
	wantKeys(t, "fresh list", list(t, n.s, "", ""), []string{"head.json", "new"})
}

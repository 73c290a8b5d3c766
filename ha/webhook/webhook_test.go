package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/event"
)

// rig is Webhooks with all that they need, and the other side, in a bubble.
type rig struct {
	*Webhooks
	t      *testing.T
	answer func(attempt int) int // the attempts at one message are counted from 1
	events chan event.Event
	begun  time.Time

	mu      sync.Mutex
	hooks   []Hook
	standby bool
	kept    []byte
	told    []string
	tries   map[string][]time.Time
	got     []Message
}

// inBubble runs a test on a clock of its own, with Webhooks that run.
func inBubble(t *testing.T, answer func(attempt int) int, test func(*rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, answer: answer, events: make(chan event.Event), begun: time.Now(), tries: make(map[string][]time.Time)}
		r.Webhooks = New(Config{
			Store: r, Outbox: r, Clock: r, HTTP: &http.Client{Transport: r}, Random: rand.NewChaCha8([32]byte{1}),
			Note: func(_ context.Context, level event.Level, text string, _ map[string]any) {
				r.locked(func() { r.told = append(r.told, fmt.Sprintf("%s: %s", level, text)) })
			},
			Attempted: func(error, bool) {},
			Cluster:   "c", Instance: "a", Incarnation: "i", Version: "1",
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- r.Run(ctx, r.events) }()
		test(r)
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("it ended with %v", err)
		}
	})
}

func (r *rig) locked(do func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	do()
}

func (r *rig) Hooks() (all []Hook, err error) {
	r.locked(func() { all = slices.Clone(r.hooks) })
	return all, nil
}

func (r *rig) ChangeHooks(_ context.Context, _ string, change func([]Hook) ([]Hook, error)) (err error) {
	if r.standby {
		return &ha.Refusal{Reason: "this instance is not the active"}
	}
	r.locked(func() {
		var next []Hook
		if next, err = change(slices.Clone(r.hooks)); err == nil {
			r.hooks = next
		}
	})
	return err
}

func (r *rig) Load(v any) (found bool, err error) {
	r.locked(func() {
		if found = r.kept != nil; found {
			err = json.Unmarshal(r.kept, v)
		}
	})
	return found, err
}

func (r *rig) Save(v any) (err error) {
	r.locked(func() { r.kept, err = json.Marshal(v) })
	return err
}

func (r *rig) Remove() error {
	r.locked(func() { r.kept = nil })
	return nil
}

func (r *rig) Now() ha.Now { return ha.Now{Mono: time.Since(r.begun), Wall: time.Now()} }

// RoundTrip is the other side: it verifies what it gets.
func (r *rig) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	code := http.StatusUnauthorized
	r.locked(func() {
		for _, h := range r.hooks {
			verify, err := webhooks.NewWebhook(h.Secret)
			if err != nil || verify.Verify(body, req.Header) != nil {
				r.t.Errorf("a message cannot be verified: %v", err)
				continue
			}
			id := req.Header.Get("webhook-id")
			r.tries[id] = append(r.tries[id], time.Now())
			if code = r.answer(len(r.tries[id])); code/100 == 2 {
				var m Message
				if err := json.Unmarshal(body, &m); err != nil {
					r.t.Error(err)
				}
				r.got = append(r.got, m)
			}
		}
	})
	return &http.Response{StatusCode: code, Status: http.StatusText(code), Body: http.NoBody, Header: http.Header{}, Request: req}, nil
}

func (r *rig) add(req Request) Status {
	r.t.Helper()
	added, _, err := r.AddWebhook(r.t.Context(), req)
	if err != nil {
		r.t.Fatal(err)
	}
	return added
}

// happens has an event of a kind happen, and waits until everybody has done what
// there is to do at once.
func (r *rig) happens(id uint64, kind string) {
	r.events <- event.Event{ID: id, Time: time.Now(), Level: event.Info, Kind: kind, Text: kind, Instance: "a"}
	synctest.Wait()
}

// status is how this instance fares with the only webhook.
func (r *rig) status() Status {
	r.t.Helper()
	all, err := r.Webhooks.Webhooks()
	if err != nil || len(all) != 1 {
		r.t.Fatalf("%+v, %v", all, err)
	}
	return all[0]
}

func (r *rig) says(text string) {
	r.t.Helper()
	r.locked(func() {
		if !slices.ContainsFunc(r.told, func(s string) bool { return strings.Contains(s, text) }) {
			r.t.Errorf("it does not tell %q: %q", text, r.told)
		}
	})
}

// TestAWebhookIsTriedAgain: with the same id, after the pauses that Standard
// Webhooks proposes; its failure is told once, and holds nothing up.
func TestAWebhookIsTriedAgain(t *testing.T) {
	inBubble(t, func(attempt int) int {
		if attempt < 4 {
			return http.StatusServiceUnavailable
		}
		return http.StatusOK
	}, func(r *rig) {
		r.add(Request{URL: "http://hooks.example.com/hook", Kinds: []string{"schedule"}})
		r.happens(1, "schedule")
		r.happens(2, "schedule")
		r.happens(3, "backup") // which nobody chose
		if s := r.status(); s.Pending != 2 || s.LastError != "answered Service Unavailable" {
			r.t.Errorf("%+v", s)
		}
		<-time.After(45 * time.Minute) // on the bubble's clock
		if s := r.status(); s.Pending != 0 || s.Delivered != 2 || len(r.got) != 2 || r.kept != nil {
			r.t.Errorf("%+v; kept %s", s, r.kept)
		}
		r.says("to http://hooks.example.com/hook fails")
		r.says("works again")
		if len(r.told) != 2 || len(r.tries) != 2 {
			r.t.Errorf("%d ids of 2 messages; told %q", len(r.tries), r.told)
		}
		for id, at := range r.tries {
			if len(at) != 4 {
				r.t.Errorf("%s: %d attempts", id, len(at))
				continue
			}
			for i, want := range retryAfter[:3] {
				if got := at[i+1].Sub(at[i]); got < want || got > want+want/retryJitter {
					r.t.Errorf("%s: pause %d was %v, want about %v", id, i+1, got, want)
				}
			}
		}
	})
}

// TestMessagesThatCannotBeDeliveredAreBounded: the oldest are given up, and a
// redirect is no way to have a signed message sent elsewhere.
func TestMessagesThatCannotBeDeliveredAreBounded(t *testing.T) {
	inBubble(t, func(int) int { return http.StatusFound }, func(r *rig) {
		added := r.add(Request{URL: "http://hooks.example.com/hook", Kinds: []string{"agent"}})
		for i := range 2 * maxPending {
			r.happens(uint64(i), "agent")
		}
		if s := r.status(); s.Pending != maxPending || s.Lost < maxPending/2 || !strings.Contains(s.LastError, "redirects are not followed") {
			r.t.Errorf("%+v", s)
		}
		var failed *DeliveryError
		if err := r.TestWebhook(r.t.Context(), added.ID); !errors.As(err, &failed) || !strings.Contains(err.Error(), "redirects are not followed") {
			r.t.Errorf("a test: %v", err)
		}
		r.says("fails")
	})
}

// TestAWebhookThatIsGoneIsNotAskedAgain for that message.
func TestAWebhookThatIsGoneIsNotAskedAgain(t *testing.T) {
	inBubble(t, func(int) int { return http.StatusGone }, func(r *rig) {
		r.add(Request{URL: "http://hooks.example.com/hook"})
		r.happens(1, "schedule")
		if s := r.status(); s.Lost != 1 || s.Pending != 0 {
			r.t.Errorf("%+v", s)
		}
	})
}

func TestWebhooksThatCannotBeAreRefused(t *testing.T) {
	inBubble(t, func(int) int { return http.StatusOK }, func(r *rig) {
		for _, req := range []Request{
			{URL: ""},
			{URL: "ftp://example.com"},
			{URL: "http://"},
			{URL: "https://user:password@example.com"},
			{URL: "https://example.com/" + strings.Repeat("x", maxURL)},
			{URL: "https://example.com", Kinds: []string{"everything"}},
			{URL: "https://example.com", Levels: []event.Level{"loud"}},
		} {
			_, _, err := r.AddWebhook(r.t.Context(), req)
			if !errors.Is(err, ha.ErrInvalid) || strings.Contains(err.Error(), "password") {
				r.t.Errorf("%+v: %v", req, err)
			}
		}
		for range maxHooks {
			if _, _, err := r.AddWebhook(r.t.Context(), Request{URL: "https://example.com"}); err != nil {
				r.t.Fatal(err)
			}
		}
		if _, _, err := r.AddWebhook(r.t.Context(), Request{URL: "https://example.com"}); !errors.Is(err, ha.ErrInvalid) {
			r.t.Errorf("one more than there can be: %v", err)
		}
		r.standby = true
		if _, _, err := r.AddWebhook(r.t.Context(), Request{URL: "https://example.com"}); !ha.IsRefusal(err) {
			r.t.Errorf("on a standby: %v", err)
		}
	})
}

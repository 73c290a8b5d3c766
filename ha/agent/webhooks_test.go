package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/datadir"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/report"
	"github.com/understudy-ha/understudy/ha/webhook"
)

// receiver is the other side of webhooks. The network's lock guards it.
type receiver struct {
	t      *testing.T
	secret string
	answer func(attempt int) int // the attempts at one message are counted from 1
	tries  map[string][]time.Time
	got    []webhook.Message
}

func (c *cluster) receive(answer func(attempt int) int) *receiver {
	r := &receiver{t: c.t, answer: answer, tries: make(map[string][]time.Time)}
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	c.net.hook = r.take
	return r
}

func (r *receiver) take(req *http.Request, body []byte) int {
	if r.secret == "" {
		return http.StatusUnauthorized // the test does not know it yet
	}
	verify, err := webhooks.NewWebhook(r.secret)
	if err != nil {
		r.t.Error(err)
		return http.StatusInternalServerError
	}
	if err := verify.Verify(body, req.Header); err != nil {
		r.t.Errorf("a message cannot be verified: %v", err)
	}
	id := req.Header.Get("webhook-id")
	r.tries[id] = append(r.tries[id], time.Now())
	code := r.answer(len(r.tries[id]))
	if code/100 == 2 {
		var b webhook.Message
		if err := json.Unmarshal(body, &b); err != nil {
			r.t.Error(err)
		}
		r.got = append(r.got, b)
	}
	return code
}

// texts are the messages that were taken.
func (r *receiver) texts(c *cluster) []string {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	var all []string
	for _, b := range r.got {
		all = append(all, fmt.Sprintf("%s %s %s", b.Data.Instance, b.Type, b.Data.Text))
	}
	return all
}

func (h *host) addWebhook(r *receiver, req webhook.Request) string {
	h.t.Helper()
	added, secret, err := h.agent.Webhooks().AddWebhook(event.WithActor(h.t.Context(), "alice"), req)
	if err != nil {
		h.t.Fatal(err)
	}
	h.c.net.mu.Lock()
	defer h.c.net.mu.Unlock()
	r.secret = secret
	return added.ID
}

// TestWebhooksAreToldOfChosenEvents: by the instance where they happen, in any
// role.
func TestWebhooksAreToldOfChosenEvents(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, _, _ := threeHosts(t, c)
		r := c.receive(func(int) int { return http.StatusNoContent })
		id := a.addWebhook(r, webhook.Request{URL: "http://hooks.example.com/services/T0K3N?x=secret", Kinds: []string{"backup", "promotion", "pull"}, Levels: []event.Level{event.Info}})
		b.until("it is known", func(report.Status) bool {
			all, err := b.agent.Webhooks().Webhooks()
			return err == nil && len(all) == 1
		})
		newest := a.backup()
		b.untilCached(newest)
		b.until("both have told", func(report.Status) bool {
			said := r.texts(c)
			return slices.Contains(said, "a understudy.backup backup "+newest+" is published (test)") && slices.Contains(said, "b understudy.pull backup "+newest+" is cached")
		})
		for _, text := range r.texts(c) {
			if strings.Contains(text, "schedule") || strings.Contains(text, "understudy.config") {
				t.Errorf("told of what nobody chose: %s", text)
			}
		}
		for _, h := range []*host{a, b} {
			all, err := h.agent.Webhooks().Webhooks()
			if err != nil || len(all) != 1 || all[0].ID != id || all[0].URL != "http://hooks.example.com/services/…" || all[0].Delivered == 0 {
				t.Errorf("%s: %+v, %v", h.name, all, err)
			}
		}
		// The secret and what is secret in the URL are in no event.
		events, err := a.agent.Events().Select(event.Filter{})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if text := fmt.Sprintf("%+v", e); strings.Contains(text, "T0K3N") || strings.Contains(text, "x=secret") || strings.Contains(text, r.secret) {
				t.Errorf("a secret in an event: %s", text)
			}
		}
		if err := b.agent.Webhooks().TestWebhook(t.Context(), id); err != nil {
			t.Errorf("a test from a standby: %v", err)
		}
		if err := b.agent.Webhooks().RemoveWebhook(t.Context(), id); !ha.IsRefusal(err) {
			t.Errorf("a standby removes one: %v", err)
		}
		if err := a.agent.Webhooks().RemoveWebhook(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		b.until("it is gone", func(report.Status) bool {
			all, err := b.agent.Webhooks().Webhooks()
			return err == nil && len(all) == 0
		})
		before := len(r.texts(c))
		b.untilCached(a.backup())
		if n := len(r.texts(c)); n != before {
			t.Errorf("%d messages after it was removed", n-before)
		}
		for _, err := range []error{a.agent.Webhooks().RemoveWebhook(t.Context(), id), a.agent.Webhooks().TestWebhook(t.Context(), id)} {
			if !errors.Is(err, webhook.ErrNoWebhook) {
				t.Errorf("of one that is not there: %v", err)
			}
		}
	})
}

// TestMessagesOutliveTheAgent: one that has failed is tried again by the next
// agent, with the same id, when it is due.
func TestMessagesOutliveTheAgent(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, _, _, _ := threeHosts(t, c)
		fails := true // the network's lock guards it
		r := c.receive(func(int) int {
			if fails {
				return http.StatusServiceUnavailable
			}
			return http.StatusOK
		})
		a.addWebhook(r, webhook.Request{URL: "http://hooks.example.com/hook", Kinds: []string{"schedule"}})
		if err := a.agent.requests.Resume(event.WithActor(t.Context(), "alice")); err != nil {
			t.Fatal(err)
		}
		pending := func(n int) func(report.Status) bool {
			return func(report.Status) bool {
				all, err := a.agent.Webhooks().Webhooks()
				return err == nil && len(all) == 1 && all[0].Pending == n
			}
		}
		a.until("it has failed twice", func(report.Status) bool {
			all, err := a.agent.Webhooks().Webhooks()
			return err == nil && all[0].Failed == 2
		})
		a.halt()
		a.start()
		a.until("it is waited for", pending(1))
		if s := a.agent.Status(); s.Uptime > 60 {
			t.Fatalf("it is due soon after %v", s.Uptime)
		}
		c.net.mu.Lock()
		fails = false
		c.net.mu.Unlock()
		a.until("it is delivered", pending(0))
		if up := a.agent.Status().Uptime; up < 200 {
			t.Errorf("it was tried again %v s after the restart, and the pause is 5 min", up)
		}
		if _, err := os.Stat(filepath.Join(a.data, datadir.OutboxFile)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("it is still kept: %v", err)
		}
		a.halt()
		a.start()
		a.until("nothing is left", pending(0))
		c.net.mu.Lock()
		defer c.net.mu.Unlock()
		if len(r.tries) != 1 || len(r.got) != 1 {
			t.Errorf("%d messages were tried, %d delivered", len(r.tries), len(r.got))
		}
	})
}

// TestADamagedOutboxIsSaid: it holds up nothing else.
func TestADamagedOutboxIsSaid(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, _, _, _ := threeHosts(t, c)
		a.halt()
		if err := os.WriteFile(filepath.Join(a.data, datadir.OutboxFile), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		a.start()
		a.untilLeading()
		a.tells(event.Warn, "webhook", "are lost")
	})
}

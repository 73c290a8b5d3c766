package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/membership"
	"github.com/understudy-ha/understudy/ha/webhook"
)

// NotificationPath is where an instance takes notifications, below its URL.
const NotificationPath = "/api/v1/notifications"

const (
	notifyTimeout = 2 * time.Second // of one attempt
	notifyTries   = 3
)

// Notification is the body of a notification. It carries no authority: it only
// wakes an instance up.
type Notification struct {
	Type      string           `json:"type"` // "understudy.wake"
	Timestamp time.Time        `json:"timestamp"`
	Data      NotificationData `json:"data"`
}

// NotificationData says what is new, for people.
type NotificationData struct {
	Cluster string      `json:"cluster"`
	From    string      `json:"from"`
	Backup  *backup.Ref `json:"backup,omitempty"`
}

// notifier wakes peers up. It is safe for concurrent use.
type notifier struct {
	a *Agent

	mu      sync.Mutex
	failing map[string]bool // URLs whose failure was said
}

func newNotifier(a *Agent) *notifier { return &notifier{a: a, failing: make(map[string]bool)} }

// notify wakes one peer or all of them, each in a goroutine of its own, so
// that one that is dead holds up none.
func (n *notifier) notify(ctx context.Context, e ha.Notify) {
	if e.URL != "" {
		n.wake(ctx, []string{e.URL}, e.Ref)
		return
	}
	known := n.a.peers()
	n.wake(ctx, known, e.Ref)
	n.a.runner.Go(func() {
		// A standby may have joined since the table was read. If it cannot be
		// read now, such a one polls.
		if n.a.records.Refresh(ctx) != nil {
			return
		}
		n.wake(ctx, slices.DeleteFunc(n.a.peers(), func(u string) bool { return slices.Contains(known, u) }), e.Ref)
	})
}

func (n *notifier) wake(ctx context.Context, urls []string, ref *backup.Ref) {
	for _, u := range urls {
		if u == "" || u == n.a.self.URL {
			continue
		}
		n.a.runner.Go(func() { n.send(ctx, u, ref) })
	}
}

// peers gives the URLs of the other instances.
func (a *Agent) peers() []string {
	_, config := a.configs.Current()
	seen := map[string]bool{"": true, a.self.URL: true}
	var urls []string
	add := func(u string) {
		if u = strings.TrimSuffix(u, "/"); !seen[u] {
			seen[u] = true
			urls = append(urls, u)
		}
	}
	for name, r := range a.records.Reading().Rows {
		if r.Record != nil && name != a.self.Name && !config.Removed(name) {
			add(r.Record.URL)
		}
	}
	if config != nil {
		for _, m := range config.Instances {
			if !m.Removed && m.Name != a.self.Name {
				add(m.URL)
			}
		}
	}
	return urls
}

// send notifies one peer, with a few retries. The first failure in a row is
// an event; all are counted.
func (n *notifier) send(ctx context.Context, to string, ref *backup.Ref) {
	_, err := backoff.Retry(ctx, func() (struct{}, error) { return struct{}{}, n.try(ctx, to, ref) },
		backoff.WithMaxTries(notifyTries), backoff.WithBackOff(&backoff.ExponentialBackOff{
			InitialInterval: 200 * time.Millisecond, RandomizationFactor: 0.5, Multiplier: 2, MaxInterval: time.Second,
		}))
	if ctx.Err() != nil {
		return
	}
	n.a.stats.Sent(err)
	n.mu.Lock()
	was := n.failing[to]
	n.failing[to] = err != nil
	n.mu.Unlock()
	switch {
	case err != nil && !was:
		n.a.tell.Note(ctx, event.Warn, "notification", fmt.Sprintf("%s could not be notified, it polls all the same: %v", to, err), nil)
	case err == nil && was:
		n.a.tell.Note(ctx, event.Info, "notification", to+" can be notified again", nil)
	}
}

// try sends one signed notification.
func (n *notifier) try(ctx context.Context, to string, ref *backup.Ref) error {
	ctx, cancel := context.WithTimeout(ctx, notifyTimeout)
	defer cancel()
	req, err := n.request(ctx, to, ref)
	if err != nil {
		return backoff.Permanent(err)
	}
	resp, err := n.a.cfg.HTTP.Do(req)
	if err != nil {
		var e *url.Error
		if errors.As(err, &e) {
			err = e.Err // the URL is named already
		}
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 4<<10)) // so that the connection is used again
	if resp.StatusCode/100 != 2 {
		err = fmt.Errorf("it answered %s", resp.Status)
		if resp.StatusCode/100 == 4 {
			return backoff.Permanent(err)
		}
	}
	return err
}

func (n *notifier) request(ctx context.Context, to string, ref *backup.Ref) (*http.Request, error) {
	now := n.a.cfg.Clock.Now().Wall
	body, err := json.Marshal(Notification{
		Type: "understudy.wake", Timestamp: now,
		Data: NotificationData{Cluster: n.a.control.Cluster(), From: n.a.self.Name, Backup: ref},
	})
	if err != nil {
		return nil, fmt.Errorf("encode notification: %w", err)
	}
	id, err := membership.RandomHex(n.a.cfg.Random, 12)
	if err != nil {
		return nil, err
	}
	id = "msg_" + id
	hook, err := webhooks.NewWebhookRaw(n.a.cfg.Ring.NotificationSecret(n.a.control.Cluster()))
	if err != nil {
		return nil, fmt.Errorf("sign notification: %w", err)
	}
	return webhook.Signed(ctx, hook, strings.TrimSuffix(to, "/")+NotificationPath, id, body, now, n.a.cfg.Version)
}

// VerifyNotification checks a notification's Standard Webhooks signature, by
// any key that this instance knows.
func (a *Agent) VerifyNotification(header http.Header, body []byte) error {
	err := errors.New("no key")
	for _, secret := range a.cfg.Ring.NotificationSecrets(a.control.Cluster()) {
		var hook *webhooks.Webhook
		if hook, err = webhooks.NewWebhookRaw(secret); err != nil {
			break
		}
		if err = hook.Verify(body, header); err == nil {
			return nil
		}
	}
	return fmt.Errorf("verify notification: %w", err)
}

// tellActive wakes the active up because this instance's record has changed: it
// reads there which backup is cached here, and what this host lacks. The wake-up
// says nothing itself; what the record says is signed.
func (a *Agent) tellActive(ctx context.Context) {
	if h := a.state.View().Head; h != nil && h.Active.Name != a.self.Name {
		a.notifier.wake(ctx, []string{strings.TrimSuffix(h.Active.URL, "/")}, nil)
	}
}

// Notified has the bucket looked at soon, and, on the active, the instances'
// records. It never blocks, and any number of calls cost one look at the head in a
// tenth of a second at most, and one at the records in a second.
func (a *Agent) Notified() {
	a.stats.Notified()
	if a.state.View().Role == ha.RoleActive {
		a.records.Stir()
	}
	a.inbox.Wake()
}

package agent

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/ha/event"
)

// webhook is a URL that is told of events, as it is kept in secrets.
type webhook struct {
	ID     string        `json:"id"`
	URL    string        `json:"url"`
	Secret string        `json:"secret"`           // whsec_…
	Kinds  []string      `json:"kinds,omitempty"`  // none: all
	Levels []event.Level `json:"levels,omitempty"` // none: all
}

// NewWebhook asks for a URL to be told of events.
type NewWebhook struct {
	URL    string
	Kinds  []string      // none: all
	Levels []event.Level // none: all
}

// Webhook describes a webhook, without its secret, and how this instance fares
// with it.
type Webhook struct {
	ID        string        `json:"id"`
	URL       string        `json:"url"` // without what may be secret in it
	Kinds     []string      `json:"kinds,omitempty"`
	Levels    []event.Level `json:"levels,omitempty"`
	Delivered int64         `json:"delivered"`            // messages, by this process
	Failed    int64         `json:"failed"`               // attempts
	Lost      int64         `json:"lost"`                 // messages that were given up
	Pending   int           `json:"pending"`              // messages that are tried again
	LastError string        `json:"last_error,omitempty"` // of the last attempt; empty when it succeeded
}

// ErrNoWebhook means that no webhook has the id that was asked for.
var ErrNoWebhook = errors.New("there is no such webhook (understudy webhooks lists them)")

const (
	maxWebhooks   = 20
	secretPrefix  = "whsec_"
	secretBytes   = 32
	maxWebhookURL = 2048
)

// Webhooks lists the webhooks that the cluster has.
func (a *Agent) Webhooks() ([]Webhook, error) {
	s, err := a.secrets()
	if err != nil {
		return nil, err
	}
	all := make([]Webhook, len(s.Webhooks))
	for i, h := range s.Webhooks {
		all[i] = a.deliverer.describe(h)
	}
	return all, nil
}

// AddWebhook has a URL told of events from now on, by every instance of its own.
// The secret that the messages are signed with is given this once. Only the
// active changes what instances share.
func (a *Agent) AddWebhook(ctx context.Context, req NewWebhook) (added Webhook, secret string, err error) {
	if err := req.check(); err != nil {
		return added, "", err
	}
	id, err := randomHex(a.cfg.Random, 4)
	if err != nil {
		return added, "", err
	}
	raw := make([]byte, secretBytes)
	if _, err := io.ReadFull(a.cfg.Random, raw); err != nil {
		return added, "", fmt.Errorf("make secret: %w", err)
	}
	h := webhook{ID: id, URL: req.URL, Secret: secretPrefix + base64.StdEncoding.EncodeToString(raw), Kinds: req.Kinds, Levels: req.Levels}
	err = a.changeSecrets(ctx, fmt.Sprintf("webhook %s to %s was added", id, shown(req.URL)), func(s *secrets) error {
		if len(s.Webhooks) >= maxWebhooks {
			return invalid("there are %d webhooks already, as many as there can be: remove one first", maxWebhooks)
		}
		s.Webhooks = append(s.Webhooks, h)
		return nil
	})
	if err != nil {
		return added, "", err
	}
	return a.deliverer.describe(h), h.Secret, nil
}

func (n NewWebhook) check() error {
	u, err := url.Parse(n.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" || len(n.URL) > maxWebhookURL {
		return invalid("that is not the URL of a webhook: write it like https://example.com/hook, without a user")
	}
	for _, kind := range n.Kinds {
		if !event.KnownKind(kind) {
			return invalid("there are no events of kind %q: understudy events --help lists the kinds", kind)
		}
	}
	for _, level := range n.Levels {
		if !event.KnownLevel(level) {
			return invalid("there is no level %q: the levels are %s, %s, %s", level, event.Info, event.Warn, event.Alarm)
		}
	}
	return nil
}

// RemoveWebhook removes a webhook. What was still to be delivered is dropped.
func (a *Agent) RemoveWebhook(ctx context.Context, id string) error {
	return a.changeSecrets(ctx, fmt.Sprintf("webhook %s was removed", id), func(s *secrets) error {
		i := slices.IndexFunc(s.Webhooks, func(h webhook) bool { return h.ID == id })
		if i < 0 {
			return fmt.Errorf("%w: %s", ErrNoWebhook, id)
		}
		s.Webhooks = slices.Delete(s.Webhooks, i, i+1)
		return nil
	})
}

// TestWebhook sends a message to a webhook from this instance, once and at
// once. Its error says what the other side answered.
func (a *Agent) TestWebhook(ctx context.Context, id string) error {
	h, err := a.webhook(id)
	if err != nil {
		return err
	}
	now := a.cfg.Clock.Now().Wall
	e := event.Event{
		Time: now.UTC(), Level: event.Info, Kind: webhookKind, Text: "a test: this webhook works",
		By: event.Actor(ctx), Instance: a.self.Name,
	}
	name, err := randomHex(a.cfg.Random, 12)
	if err != nil {
		return err
	}
	if err := a.deliverer.send(ctx, h, message{id: "msg_" + name, event: e}); err != nil {
		return &DeliveryError{URL: shown(h.URL), Err: err}
	}
	return nil
}

// DeliveryError is why a webhook could not be told of something.
type DeliveryError struct {
	URL string // without what may be secret in it
	Err error
}

func (e *DeliveryError) Error() string { return e.URL + " " + e.Err.Error() }

// Unwrap gives the cause.
func (e *DeliveryError) Unwrap() error { return e.Err }

// webhook finds a webhook in the configuration in force.
func (a *Agent) webhook(id string) (webhook, error) {
	s, err := a.secrets()
	if err != nil {
		return webhook{}, err
	}
	for _, h := range s.Webhooks {
		if h.ID == id {
			return h, nil
		}
	}
	return webhook{}, fmt.Errorf("%w: %s", ErrNoWebhook, id)
}

// wants reports whether a webhook is to be told of an event. One is not told
// that it fails.
func (h webhook) wants(e event.Event) bool {
	if e.Kind == webhookKind && e.Fields["webhook"] == h.ID {
		return false
	}
	return event.Filter{Kinds: h.Kinds, Levels: h.Levels, Since: time.Time{}}.Matches(e)
}

const webhookKind = "webhook"

// shown is a webhook's URL without what may be secret in it: what follows the
// first part of its path.
func shown(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "…"
	}
	first, rest, more := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	text := u.Scheme + "://" + u.Host
	if first != "" {
		text += "/" + first
	}
	if more && rest != "" || u.RawQuery != "" {
		text += "/…"
	}
	return text
}

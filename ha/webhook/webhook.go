package webhook

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/event"
)

// Hook is a URL that is told of events, as it is kept in the shared
// configuration.
type Hook struct {
	ID     string        `json:"id"`
	URL    string        `json:"url"`
	Secret string        `json:"secret"`           // whsec_…
	Kinds  []string      `json:"kinds,omitempty"`  // none: all
	Levels []event.Level `json:"levels,omitempty"` // none: all
}

// Request asks for a URL to be told of events.
type Request struct {
	URL    string
	Kinds  []string      // none: all
	Levels []event.Level // none: all
}

// Status describes a webhook, without its secret, and how this instance fares
// with it.
type Status struct {
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
	maxHooks     = 20
	secretPrefix = "whsec_"
	secretBytes  = 32
	maxURL       = 2048 // bytes
)

// Webhooks lists the webhooks that the cluster has.
func (d *Webhooks) Webhooks() ([]Status, error) {
	hooks, err := d.cfg.Store.Hooks()
	if err != nil {
		return nil, err
	}
	all := make([]Status, len(hooks))
	for i, h := range hooks {
		all[i] = d.describe(h)
	}
	return all, nil
}

// AddWebhook has a URL told of events from now on, by every instance of its own.
// The secret that the messages are signed with is returned this once. Only the
// active changes what instances share.
func (d *Webhooks) AddWebhook(ctx context.Context, req Request) (added Status, secret string, err error) {
	if err := req.check(); err != nil {
		return added, "", err
	}
	id, err := d.randomHex(4)
	if err != nil {
		return added, "", err
	}
	raw := make([]byte, secretBytes)
	if _, err := io.ReadFull(d.cfg.Random, raw); err != nil {
		return added, "", fmt.Errorf("make secret: %w", err)
	}
	h := Hook{ID: id, URL: req.URL, Secret: secretPrefix + base64.StdEncoding.EncodeToString(raw), Kinds: req.Kinds, Levels: req.Levels}
	err = d.cfg.Store.ChangeHooks(ctx, fmt.Sprintf("webhook %s to %s was added", id, shown(req.URL)), func(hooks []Hook) ([]Hook, error) {
		if len(hooks) >= maxHooks {
			return nil, ha.Invalidf("there are %d webhooks already, as many as there can be: remove one first", maxHooks)
		}
		return append(hooks, h), nil
	})
	if err != nil {
		return added, "", err
	}
	return d.describe(h), h.Secret, nil
}

func (d *Webhooks) randomHex(bytes int) (string, error) {
	b := make([]byte, bytes)
	if _, err := io.ReadFull(d.cfg.Random, b); err != nil {
		return "", fmt.Errorf("read random bytes: %w", err)
	}
	return hex.EncodeToString(b), nil
}

func (n Request) check() error {
	u, err := url.Parse(n.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" || len(n.URL) > maxURL {
		return ha.Invalidf("that is not the URL of a webhook: write it like https://example.com/hook, without a user")
	}
	for _, kind := range n.Kinds {
		if !event.KnownKind(kind) {
			return ha.Invalidf("there are no events of kind %q: understudy events --help lists the kinds", kind)
		}
	}
	for _, level := range n.Levels {
		if !event.KnownLevel(level) {
			return ha.Invalidf("there is no level %q: the levels are %s, %s, %s", level, event.Info, event.Warn, event.Alarm)
		}
	}
	return nil
}

// RemoveWebhook removes a webhook. What was still to be delivered is dropped.
func (d *Webhooks) RemoveWebhook(ctx context.Context, id string) error {
	return d.cfg.Store.ChangeHooks(ctx, fmt.Sprintf("webhook %s was removed", id), func(hooks []Hook) ([]Hook, error) {
		i := slices.IndexFunc(hooks, func(h Hook) bool { return h.ID == id })
		if i < 0 {
			return nil, fmt.Errorf("%w: %s", ErrNoWebhook, id)
		}
		return slices.Delete(hooks, i, i+1), nil
	})
}

// TestWebhook sends a message to a webhook from this instance, once and at
// once. Its error says what the other side answered: a *DeliveryError.
func (d *Webhooks) TestWebhook(ctx context.Context, id string) error {
	h, err := d.hook(id)
	if err != nil {
		return err
	}
	e := event.Event{
		Time: d.cfg.Clock.Now().Wall.UTC(), Level: event.Info, Kind: Kind, Text: "a test: this webhook works",
		By: event.Actor(ctx), Instance: d.cfg.Instance,
	}
	name, err := d.randomHex(12)
	if err != nil {
		return err
	}
	if err := d.send(ctx, h, message{id: "msg_" + name, event: e}); err != nil {
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

// hook finds a webhook that is in force.
func (d *Webhooks) hook(id string) (Hook, error) {
	hooks, err := d.cfg.Store.Hooks()
	if err != nil {
		return Hook{}, err
	}
	for _, h := range hooks {
		if h.ID == id {
			return h, nil
		}
	}
	return Hook{}, fmt.Errorf("%w: %s", ErrNoWebhook, id)
}

// wants reports whether a webhook is to be told of an event. One is not told
// that it fails.
func (h Hook) wants(e event.Event) bool {
	if e.Kind == Kind && e.Fields["webhook"] == h.ID {
		return false
	}
	return event.Filter{Kinds: h.Kinds, Levels: h.Levels, Since: time.Time{}}.Matches(e)
}

// Kind is the kind of the events about webhooks.
const Kind = "webhook"

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

package webhook

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/event"
)

// retryAfter is how long after an attempt at a message the next one is made, as
// Standard Webhooks proposes. After the last the message is given up.
var retryAfter = []time.Duration{
	5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
}

const (
	deliverTimeout = 15 * time.Second // of one attempt
	maxPending     = 100              // messages to one webhook; the oldest goes first
	retryJitter    = 10               // percent
)

// message is one event on its way to one webhook.
type message struct {
	id       string // the same in every attempt
	event    event.Event
	attempts int
	due      time.Duration // monotonic
	kept     bool          // on disk
}

// Store keeps the webhooks.
type Store interface {
	// Hooks are the webhooks in force. It asks nobody.
	Hooks() ([]Hook, error)
	// ChangeHooks replaces the webhooks by what change makes of them, and returns
	// once they are in force. text says what was done, for people. On an instance
	// that is not the active it is a *ha.Refusal.
	ChangeHooks(ctx context.Context, text string, change func([]Hook) ([]Hook, error)) error
}

// Config is what Webhooks need.
type Config struct {
	Store  Store
	Outbox Outbox
	Clock  interface{ Now() ha.Now }
	HTTP   *http.Client
	Random io.Reader
	// Note tells of an event about webhooks.
	Note func(ctx context.Context, level event.Level, text string, fields map[string]any)
	// Attempted is told how each attempt ended, and whether the message was given up.
	Attempted func(err error, lost bool)
	// Who sends: the cluster's id, the instance's name, the id of this process, and
	// the program's version.
	Cluster, Instance, Incarnation, Version string
}

// Webhooks tell URLs of this instance's events. Nothing waits for them. They are
// safe for concurrent use.
type Webhooks struct {
	cfg    Config
	client *http.Client

	keeping sync.Mutex // held while the outbox is written; before mu

	mu      sync.Mutex
	senders map[string]*sender // by the webhook's id
	said    map[string]string  // the trouble that was told last, by what it keeps from being done
}

// sender brings the messages to one webhook.
type sender struct {
	wake chan struct{} // there is something new to do

	pending []message // Webhooks.mu guards it, and what follows
	stats   Status
}

// New returns Webhooks that tell nobody until Run.
func New(cfg Config) *Webhooks {
	client := *cfg.HTTP
	// A signed message goes where the operator said, and nowhere else.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Webhooks{cfg: cfg, client: &client, senders: make(map[string]*sender), said: make(map[string]string)}
}

// Run hands every event to the webhooks that want it.
func (d *Webhooks) Run(ctx context.Context, events <-chan event.Event) error {
	var senders sync.WaitGroup
	d.restore(ctx, &senders)
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case e, open := <-events:
			if !open {
				<-ctx.Done()
				break
			}
			for _, h := range d.hooks(ctx) {
				if h.wants(e) {
					d.enqueue(ctx, &senders, h, e)
				}
			}
		}
	}
	senders.Wait()
	d.keep(ctx, true)
	return ctx.Err()
}

// hooks gives the webhooks in force.
func (d *Webhooks) hooks(ctx context.Context) []Hook {
	hooks, err := d.cfg.Store.Hooks()
	d.complain(ctx, "webhooks are not told of events", err)
	return hooks
}

// complain tells of a trouble of its own, which would be told with every event,
// once until it is over.
func (d *Webhooks) complain(ctx context.Context, what string, err error) {
	text := ""
	if err != nil {
		text = what + ": " + err.Error()
	}
	d.mu.Lock()
	news := text != d.said[what]
	d.said[what] = text
	d.mu.Unlock()
	if news && err != nil {
		d.cfg.Note(ctx, event.Warn, text, nil)
	}
}

// enqueue adds a message for one webhook.
func (d *Webhooks) enqueue(ctx context.Context, senders *sync.WaitGroup, h Hook, e event.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.sender(ctx, senders, h.ID)
	if len(s.pending) >= maxPending {
		s.pending = s.pending[1:]
		s.stats.Lost++
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%s\x00%s\x00%d", d.cfg.Cluster, d.cfg.Instance, d.cfg.Incarnation, h.ID, e.ID))
	s.pending = append(s.pending, message{id: "msg_" + hex.EncodeToString(sum[:12]), event: e, due: d.cfg.Clock.Now().Mono})
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// sender gives a webhook's sender, which is started with the first message.
// d.mu is held.
func (d *Webhooks) sender(ctx context.Context, senders *sync.WaitGroup, id string) *sender {
	s := d.senders[id]
	if s == nil {
		s = &sender{wake: make(chan struct{}, 1)}
		d.senders[id] = s
		senders.Go(func() { d.serve(ctx, id, s) })
	}
	return s
}

// serve delivers one webhook's messages, each when it is due, until the
// webhook is removed or the agent stops.
func (d *Webhooks) serve(ctx context.Context, id string, s *sender) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		m, wait, found := d.next(s)
		if found && wait <= 0 {
			h, err := d.hook(id)
			if errors.Is(err, ErrNoWebhook) {
				d.drop(id)
				d.keep(ctx, false)
				return
			}
			if err == nil {
				err = d.send(ctx, h, m)
			}
			if ctx.Err() != nil {
				return
			}
			d.settle(ctx, h, s, m, err)
			continue
		}
		if !found {
			wait = time.Hour
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-timer.C:
		}
	}
}

// drop forgets a webhook that was removed.
func (d *Webhooks) drop(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.senders, id)
}

// next gives the message that is due first, and how long until then.
func (d *Webhooks) next(s *sender) (m message, wait time.Duration, found bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range s.pending {
		if !found || p.due < m.due {
			m, found = p, true
		}
	}
	return m, m.due - d.cfg.Clock.Now().Mono, found
}

// errGone is the answer of a webhook that wants no more messages.
var errGone = errors.New("answered 410 Gone: it wants no more messages")

// settle notes how an attempt ended. The first failure in a row is an event.
func (d *Webhooks) settle(ctx context.Context, h Hook, s *sender, m message, err error) {
	d.mu.Lock()
	was := s.stats.LastError
	s.stats.LastError = ""
	lost := false
	if err == nil {
		s.stats.Delivered++
		s.remove(m.id)
	} else {
		s.stats.Failed++
		s.stats.LastError = err.Error()
		lost = s.again(m, d.cfg.Clock.Now().Mono, errors.Is(err, errGone))
	}
	d.mu.Unlock()
	if err != nil || m.kept {
		d.keep(ctx, false)
	}
	d.cfg.Attempted(err, lost)
	fields := map[string]any{"webhook": h.ID}
	switch {
	case err != nil && was == "":
		d.cfg.Note(ctx, event.Warn, fmt.Sprintf("webhook %s to %s fails (tried again for three days): %v", h.ID, shown(h.URL), err), fields)
	case err == nil && was != "":
		d.cfg.Note(ctx, event.Info, fmt.Sprintf("webhook %s to %s works again", h.ID, shown(h.URL)), fields)
	}
}

// remove takes a message out, wherever it is by now.
func (s *sender) remove(id string) {
	for i, p := range s.pending {
		if p.id == id {
			s.pending = append(s.pending[:i:i], s.pending[i+1:]...)
			return
		}
	}
}

// again sets when a message is tried next, and reports whether it is given up.
func (s *sender) again(m message, now time.Duration, gone bool) (lost bool) {
	if gone || m.attempts >= len(retryAfter) {
		s.remove(m.id)
		s.stats.Lost++
		return true
	}
	pause := retryAfter[m.attempts]
	// The name of a message is as good as random.
	pause += pause / 100 * time.Duration(int(m.id[len(m.id)-1])%retryJitter)
	for i := range s.pending {
		if s.pending[i].id == m.id {
			s.pending[i].attempts++
			s.pending[i].due = now + pause
		}
	}
	return false
}

// Message is the body of what a webhook is sent.
type Message struct {
	Type      string    `json:"type"` // "understudy." and the event's kind
	Timestamp time.Time `json:"timestamp"`
	Data      Data      `json:"data"`
}

// Data says what has happened, and in which cluster.
type Data struct {
	Cluster string `json:"cluster"`
	event.Event
}

// send makes one attempt.
func (d *Webhooks) send(ctx context.Context, h Hook, m message) error {
	body, err := json.Marshal(Message{
		Type: "understudy." + m.event.Kind, Timestamp: m.event.Time,
		Data: Data{Cluster: d.cfg.Cluster, Event: m.event},
	})
	if err != nil {
		return fmt.Errorf("cannot be told: encode event: %w", err)
	}
	signer, err := webhooks.NewWebhook(h.Secret)
	if err != nil {
		return fmt.Errorf("cannot be told: its secret is damaged: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, deliverTimeout)
	defer cancel()
	req, err := Signed(ctx, signer, h.URL, m.id, body, d.cfg.Clock.Now().Wall, d.cfg.Version)
	if err != nil {
		return err
	}
	resp, err := d.client.Do(req)
	if err != nil {
		var e *url.Error
		if errors.As(err, &e) {
			err = e.Err // the URL may hold a secret
		}
		return fmt.Errorf("does not answer: %w", err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 4<<10)) // so that the connection is used again
	switch {
	case resp.StatusCode/100 == 2:
		return nil
	case resp.StatusCode == http.StatusGone:
		return errGone
	case resp.StatusCode/100 == 3:
		return fmt.Errorf("answered %s: redirects are not followed, give the URL that it leads to", resp.Status)
	}
	return fmt.Errorf("answered %s", resp.Status)
}

// describe tells of a webhook and how this instance fares with it.
func (d *Webhooks) describe(h Hook) Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	var w Status
	if s := d.senders[h.ID]; s != nil {
		w, w.Pending = s.stats, len(s.pending)
	}
	w.ID, w.URL, w.Kinds, w.Levels = h.ID, shown(h.URL), h.Kinds, h.Levels
	return w
}

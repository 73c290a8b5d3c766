package peers

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/event"
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

// Counts are told of notifications.
type Counts interface {
	Sent(err error)
	Notified()
}

// Notifier wakes peers up, and is woken. It is safe for concurrent use.
type Notifier struct {
	host   Host
	counts Counts
	start  func(func()) // what is waited for when the agent ends
	wakes  func()       // this instance's machine

	mu      sync.Mutex
	failing map[string]bool // URLs whose failure was said
}

// NewNotifier sends in goroutines that start starts, and has wake wake this instance up.
func NewNotifier(h Host, c Counts, start func(func()), wake func()) *Notifier {
	return &Notifier{host: h, counts: c, start: start, wakes: wake, failing: make(map[string]bool)}
}

// Notify wakes one peer or all of them, each in a goroutine of its own, so
// that one that is dead holds up none.
func (n *Notifier) Notify(ctx context.Context, e ha.Notify) {
	if e.URL != "" {
		n.wake(ctx, []string{e.URL}, e.Ref)
		return
	}
	known := n.host.urls()
	n.wake(ctx, known, e.Ref)
	n.start(func() {
		// A standby may have joined since the table was read. If it cannot be
		// read now, such a one polls.
		if n.host.Records.Refresh(ctx) != nil {
			return
		}
		n.wake(ctx, slices.DeleteFunc(n.host.urls(), func(u string) bool { return slices.Contains(known, u) }), e.Ref)
	})
}

func (n *Notifier) wake(ctx context.Context, urls []string, ref *backup.Ref) {
	for _, u := range urls {
		if u == "" || u == n.host.Self.URL {
			continue
		}
		n.start(func() { n.send(ctx, u, ref) })
	}
}

// send notifies one peer, with a few retries. The first failure in a row is
// an event; all are counted.
func (n *Notifier) send(ctx context.Context, to string, ref *backup.Ref) {
	_, err := backoff.Retry(ctx, func() (struct{}, error) { return struct{}{}, n.try(ctx, to, ref) },
		backoff.WithMaxTries(notifyTries), backoff.WithBackOff(&backoff.ExponentialBackOff{
			InitialInterval: 200 * time.Millisecond, RandomizationFactor: 0.5, Multiplier: 2, MaxInterval: time.Second,
		}))
	if ctx.Err() != nil {
		return
	}
	n.counts.Sent(err)
	n.mu.Lock()
	was := n.failing[to]
	n.failing[to] = err != nil
	n.mu.Unlock()
	switch {
	case err != nil && !was:
		n.host.Log.Note(ctx, event.Warn, "notification", fmt.Sprintf("%s could not be notified, it polls all the same: %v", to, err), nil)
	case err == nil && was:
		n.host.Log.Note(ctx, event.Info, "notification", to+" can be notified again", nil)
	}
}

// try sends one signed notification.
func (n *Notifier) try(ctx context.Context, to string, ref *backup.Ref) error {
	ctx, cancel := context.WithTimeout(ctx, notifyTimeout)
	defer cancel()
	req, err := n.request(ctx, to, ref)
	if err != nil {
		return backoff.Permanent(err)
	}
	resp, err := n.host.send(req)
	if err != nil {
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

func (n *Notifier) request(ctx context.Context, to string, ref *backup.Ref) (*http.Request, error) {
	body, err := json.Marshal(Notification{
		Type: "understudy.wake", Timestamp: n.host.Clock.Now().Wall,
		Data: NotificationData{Cluster: n.host.Control.Cluster(), From: n.host.Self.Name, Backup: ref},
	})
	if err != nil {
		return nil, fmt.Errorf("encode notification: %w", err)
	}
	req, _, err := n.host.message(ctx, to, NotificationPath, body)
	return req, err
}

// VerifyNotification checks a notification's Standard Webhooks signature, by
// any key that this instance knows.
func (n *Notifier) VerifyNotification(header http.Header, body []byte) error {
	return n.host.verify(header, body)
}

// TellActive wakes the active up because this instance's record has changed: it
// reads there which backup is cached here, and what this host lacks. The wake-up
// says nothing itself; what the record says is signed.
func (n *Notifier) TellActive(ctx context.Context) {
	if h := n.host.View().Head; h != nil && h.Active.Name != n.host.Self.Name {
		n.wake(ctx, []string{strings.TrimSuffix(h.Active.URL, "/")}, nil)
	}
}

// Notified has the bucket looked at soon, and, on the active, the instances'
// records. It never blocks, and any number of calls cost one look at the head in a
// tenth of a second at most, and one at the records in a second.
func (n *Notifier) Notified() {
	n.counts.Notified()
	if n.host.View().Role == ha.RoleActive {
		n.host.Records.Stir()
	}
	n.wakes()
}

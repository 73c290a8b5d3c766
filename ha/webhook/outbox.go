package webhook

import (
	"context"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/ha/event"
)

// Outbox keeps what webhooks are still to be told, so that it outlives the
// process.
type Outbox interface {
	// Load reads what was kept into v; false when there is nothing.
	Load(v any) (found bool, err error)
	// Save replaces what is kept, durably.
	Save(v any) error
	// Remove removes what is kept.
	Remove() error
}

// outbox is what webhooks are still to be told, by the webhook's id, as it is
// kept: what has failed once, and at the agent's end the rest.
type outbox map[string][]keptMessage

// keptMessage is a message on disk.
type keptMessage struct {
	ID       string      `json:"id"`
	Event    event.Event `json:"event"`
	Attempts int         `json:"attempts"`
	Due      time.Time   `json:"due"`
}

// restore takes up what an agent before this one has left.
func (d *Webhooks) restore(ctx context.Context, senders *sync.WaitGroup) {
	var kept outbox
	if _, err := d.cfg.Outbox.Load(&kept); err != nil {
		d.complain(ctx, "messages to webhooks that were to be tried again are lost", err)
		return
	}
	now := d.cfg.Clock.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, messages := range kept {
		s := d.sender(ctx, senders, id)
		for _, m := range messages[:min(len(messages), maxPending)] {
			attempts := max(0, min(m.Attempts, len(retryAfter)))
			// The host's time may have been changed meanwhile.
			wait := max(0, min(m.Due.Sub(now.Wall), retryAfter[max(0, attempts-1)]))
			s.pending = append(s.pending, message{id: m.ID, event: m.Event, attempts: attempts, due: now.Mono + wait, kept: true})
		}
	}
}

// keep replaces what is on disk: with what has failed once, or with all.
func (d *Webhooks) keep(ctx context.Context, all bool) {
	d.keeping.Lock()
	defer d.keeping.Unlock()
	kept := d.pendingNow(all)
	var err error
	if len(kept) > 0 {
		err = d.cfg.Outbox.Save(kept)
	} else {
		err = d.cfg.Outbox.Remove()
	}
	d.complain(ctx, "messages to webhooks that are tried again would not outlive this agent", err)
}

func (d *Webhooks) pendingNow(all bool) outbox {
	now := d.cfg.Clock.Now()
	kept := outbox{}
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, s := range d.senders {
		for i := range s.pending {
			m := &s.pending[i]
			if m.kept = m.kept || all || m.attempts > 0; m.kept {
				kept[id] = append(kept[id], keptMessage{ID: m.id, Event: m.event, Attempts: m.attempts, Due: now.Wall.Add(m.due - now.Mono).UTC()})
			}
		}
	}
	return kept
}

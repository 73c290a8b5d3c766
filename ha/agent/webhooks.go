package agent

import (
	"context"

	"github.com/understudy-ha/understudy/ha/datadir"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/webhook"
)

// Webhooks tell others of this instance's events.
func (a *Agent) Webhooks() *webhook.Webhooks { return a.webhooks }

func newWebhooks(a *Agent) *webhook.Webhooks {
	return webhook.New(webhook.Config{
		Store: a.shared, Outbox: outbox{a.dir}, Clock: a.cfg.Clock, HTTP: a.cfg.HTTP, Random: a.cfg.Random,
		Note: func(ctx context.Context, level event.Level, text string, fields map[string]any) {
			a.tell.Note(ctx, level, webhook.Kind, text, fields)
		},
		Attempted: a.stats.Webhook,
		Cluster:   a.control.Cluster(), Instance: a.self.Name, Incarnation: a.self.Incarnation, Version: a.cfg.Version,
	})
}

// outbox keeps in the data folder what webhooks are still to be told.
type outbox struct{ dir *datadir.Dir }

func (o outbox) Load(v any) (bool, error) { return o.dir.Load(datadir.OutboxFile, v) }
func (o outbox) Save(v any) error         { return o.dir.Save(datadir.OutboxFile, v) }
func (o outbox) Remove() error            { return o.dir.Remove(datadir.OutboxFile) }

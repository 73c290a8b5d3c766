package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/webhook"
)

// Webhook describes a webhook, and how this instance fares with it.
type Webhook struct{ webhook.Status }

// Webhooks lists who else is told of events.
type Webhooks struct {
	Webhooks []Webhook    `json:"webhooks" nullable:"false"`
	Kinds    []event.Kind `json:"kinds" nullable:"false" doc:"of events that there are to choose from"`
}

// WebhookRequest asks for a URL to be told of events.
type WebhookRequest struct {
	URL    string        `json:"url" minLength:"1" maxLength:"2048"`
	Kinds  []string      `json:"kinds,omitempty" doc:"of events; none: all"`
	Levels []event.Level `json:"levels,omitempty" enum:"info,warn,alarm" doc:"of events; none: all"`
}

// AddedWebhook is a webhook that was added, with its secret.
type AddedWebhook struct {
	webhook.Status
	Secret string `json:"secret" doc:"by which the receiver verifies messages, as Standard Webhooks says; shown this once"`
}

// WebhookTest is how a test of a webhook ended.
type WebhookTest struct {
	Delivered bool   `json:"delivered"`
	Error     string `json:"error,omitempty" doc:"what the other side answered"`
}

type webhookTestOutput struct{ Body WebhookTest }

type webhooksOutput struct{ Body Webhooks }

type addWebhookInput struct{ Body WebhookRequest }

type addWebhookOutput struct{ Body AddedWebhook }

type webhookInput struct {
	ID string `path:"id" minLength:"1" maxLength:"64" doc:"the webhook's id"`
}

func (a *api) addWebhooks(hooks Hooks) {
	register(a, operation("list-webhooks", http.MethodGet, "/api/v1/webhooks", "Who else is told of events, and how this instance fares with it", http.StatusServiceUnavailable),
		func(context.Context, *struct{}) (*webhooksOutput, error) {
			all, err := hooks.Webhooks()
			out := &webhooksOutput{Body: Webhooks{Webhooks: []Webhook{}, Kinds: event.Kinds}}
			for _, h := range all {
				out.Body.Webhooks = append(out.Body.Webhooks, Webhook{h})
			}
			return out, err
		})
	o := operation("add-webhook", http.MethodPost, "/api/v1/webhooks", "Have a URL told of events, on the active", http.StatusConflict, http.StatusServiceUnavailable)
	o.DefaultStatus = http.StatusCreated
	o.Description = "Each instance tells of its own events. Messages are signed as Standard Webhooks says, with a secret that is made here and shown this once."
	register(a, o, func(ctx context.Context, in *addWebhookInput) (*addWebhookOutput, error) {
		added, secret, err := hooks.AddWebhook(ctx, webhook.Request{URL: in.Body.URL, Kinds: in.Body.Kinds, Levels: in.Body.Levels})
		return &addWebhookOutput{Body: AddedWebhook{Status: added, Secret: secret}}, err
	})
	register(a, operation("remove-webhook", http.MethodDelete, "/api/v1/webhooks/{id}", "Remove a webhook, on the active",
		http.StatusConflict, http.StatusNotFound, http.StatusServiceUnavailable),
		func(ctx context.Context, in *webhookInput) (*struct{}, error) {
			return nil, hooks.RemoveWebhook(ctx, in.ID)
		})
	register(a, operation("test-webhook", http.MethodPost, "/api/v1/webhooks/{id}/test", "Send a message to a webhook from this instance, once and at once",
		http.StatusNotFound, http.StatusServiceUnavailable),
		func(ctx context.Context, in *webhookInput) (*webhookTestOutput, error) {
			err := hooks.TestWebhook(ctx, in.ID)
			var failed *webhook.DeliveryError
			if errors.As(err, &failed) {
				return &webhookTestOutput{Body: WebhookTest{Error: failed.Error()}}, nil
			}
			return &webhookTestOutput{Body: WebhookTest{Delivered: err == nil}}, err
		})
}

package api

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// notificationInput is a Standard Webhooks message.
type notificationInput struct {
	ID        string `header:"webhook-id" required:"true" maxLength:"256"`
	Timestamp string `header:"webhook-timestamp" required:"true" maxLength:"32"`
	Signature string `header:"webhook-signature" required:"true" maxLength:"4096"`
	RawBody   []byte
}

func (in *notificationInput) header() http.Header {
	header := http.Header{}
	header.Set("webhook-id", in.ID)
	header.Set("webhook-timestamp", in.Timestamp)
	header.Set("webhook-signature", in.Signature)
	return header
}

// addNotifications adds what peers call. A notification is a wake-up: it makes
// the agent look at the bucket, and carries no authority.
func (a *api) addNotifications(n Notifier) {
	o := operation("notify", http.MethodPost, "/api/v1/notifications", "A peer's wake-up, with a Standard Webhooks signature", http.StatusUnauthorized)
	o.DefaultStatus = http.StatusNoContent
	register(a, o, func(ctx context.Context, in *notificationInput) (*struct{}, error) {
		if err := n.VerifyNotification(in.header(), bytes.Clone(in.RawBody)); err != nil {
			a.log.DebugContext(ctx, "notification refused", slog.Any("error", err))
			return nil, problem(http.StatusUnauthorized, "the signature of the notification does not hold, or its time is too far off")
		}
		n.Notified()
		return nil, nil
	})
	body := a.huma.OpenAPI().Paths[o.Path].Post.RequestBody
	body.Content = map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{Type: huma.TypeObject, Description: "a Standard Webhooks payload"}}}
}

type sightingOutput struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

// addSightings adds what peers ask about a bucket that was put back.
func (a *api) addSightings(s Sightings) {
	o := operation("sight", http.MethodPost, "/api/v1/sightings", "What this instance sees of the head, for a peer whose question has a Standard Webhooks signature", http.StatusUnauthorized)
	register(a, o, func(ctx context.Context, in *notificationInput) (*sightingOutput, error) {
		answer, err := s.Sight(ctx, in.header(), bytes.Clone(in.RawBody))
		if err != nil {
			a.log.DebugContext(ctx, "question refused", slog.Any("error", err))
			return nil, problem(http.StatusUnauthorized, "the signature of the question does not hold, or its time is too far off")
		}
		return &sightingOutput{ContentType: "application/json", Body: answer}, nil
	})
	path := a.huma.OpenAPI().Paths[o.Path].Post
	path.RequestBody.Content = map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{Type: huma.TypeObject, Description: "anything that is signed"}}}
	path.Responses["200"].Content = map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{Type: huma.TypeObject, Description: "a JWS for this very question"}}}
}

package api

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/understudy-ha/understudy/ha/event"
)

// Events is what has happened on this instance, oldest first.
type Events struct {
	Events []event.Event `json:"events" nullable:"false"`
}

type eventsInput struct {
	Accept      string `header:"Accept"`
	LastEventID string `header:"Last-Event-ID" doc:"like after, as clients of server-sent events send it"`
	After       uint64 `query:"after" doc:"only events with a greater id"`
	Limit       int    `query:"limit" minimum:"0" maximum:"1000" default:"100" doc:"at most this many past events, the newest; a stream that comes back with an id gets all that it missed"`
}

// after is the id after which events are wanted, and whether one was given.
func (in *eventsInput) after() (uint64, bool) {
	if id, err := strconv.ParseUint(in.LastEventID, 10, 64); err == nil {
		return id, true
	}
	return in.After, in.After > 0
}

func (a *api) addEvents() {
	o := operation("list-events", http.MethodGet, "/api/v1/events", "What has happened on this instance; as a stream for those who accept text/event-stream")
	o.Responses["200"] = describe("The newest events, oldest first; as a stream, those and all that follow", content[Events](a, "application/json"), streamContent(content[event.Event](a, eventStream)))
	register(a, o, func(_ context.Context, in *eventsInput) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			after, resumed := in.after()
			if wantsStream(in.Accept) {
				a.streamEvents(ctx, after, resumed, in.Limit)
				return
			}
			events := []event.Event{}
			if in.Limit > 0 {
				events = notNil(a.agent.Events().Recent(after, in.Limit))
			}
			a.answerJSON(ctx, Events{Events: events})
		}}, nil
	})
}

// streamEvents sends past events and all that follow, until the client or the
// server goes.
func (a *api) streamEvents(ctx huma.Context, after uint64, resumed bool, limit int) {
	past, next, cancel := a.agent.Events().Subscribe(after)
	defer cancel()
	if !resumed {
		past = past[max(0, len(past)-limit):]
	}
	s, err := openStream(ctx)
	for i := 0; i < len(past) && err == nil; i++ {
		err = s.send(past[i].ID, "", past[i])
	}
	pings := time.NewTicker(keepAlive)
	defer pings.Stop()
	for err == nil { // an error means that the client is gone
		select {
		case <-ctx.Context().Done():
			return
		case <-a.closing:
			return
		case <-pings.C:
			err = s.ping()
		case e, open := <-next:
			if !open {
				return
			}
			err = s.send(e.ID, "", e)
		}
	}
}

// describe makes one answer of an operation out of its kinds of content.
func describe(description string, kinds ...map[string]*huma.MediaType) *huma.Response {
	r := &huma.Response{Description: description, Content: map[string]*huma.MediaType{}}
	for _, kind := range kinds {
		for name, media := range kind {
			r.Content[name] = media
		}
	}
	return r
}

// streamContent says that a stream's items are in the data field of events.
func streamContent(kind map[string]*huma.MediaType) map[string]*huma.MediaType {
	data := kind[eventStream].Schema
	return map[string]*huma.MediaType{eventStream: {Schema: &huma.Schema{
		Type:        huma.TypeArray,
		Description: "Server-sent events; the data of each is JSON",
		Items:       &huma.Schema{Type: huma.TypeObject, Properties: map[string]*huma.Schema{"data": data}, Required: []string{"data"}},
	}}}
}

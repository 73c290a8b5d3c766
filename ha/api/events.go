package api

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/understudy-ha/understudy/ha/event"
)

// Events is what has happened on this instance, oldest first.
type Events struct {
	Events []event.Event `json:"events" nullable:"false"`
}

type eventsInput struct {
	Accept      string        `header:"Accept"`
	LastEventID string        `header:"Last-Event-ID" doc:"like after, as clients of server-sent events send it"`
	After       uint64        `query:"after" doc:"only events with a greater id"`
	Since       time.Time     `query:"since" doc:"only events of this time or later"`
	Kind        []string      `query:"kind" doc:"only events of these kinds"`
	Level       []event.Level `query:"level" enum:"info,warn,alarm" doc:"only events of these levels"`
	Limit       int           `query:"limit" minimum:"0" maximum:"1000" default:"100" doc:"at most this many past events, the newest; a stream that comes back with an id gets all that it missed"`
}

// filter is what is asked for, and whether a stream is resumed.
func (in *eventsInput) filter() (f event.Filter, resumed bool, err error) {
	f = event.Filter{After: in.After, Since: in.Since, Kinds: in.Kind, Levels: in.Level, Limit: in.Limit}
	for _, kind := range in.Kind {
		if !event.KnownKind(kind) {
			return f, false, problem(http.StatusUnprocessableEntity, "there are no events of kind "+strconv.Quote(kind)+": the kinds are "+strings.Join(kindNames(), ", "))
		}
	}
	if id, err := strconv.ParseUint(in.LastEventID, 10, 64); err == nil {
		f.After = id
	}
	return f, f.After > 0, nil
}

// kindNames lists the kinds of events.
func kindNames() []string {
	var names []string
	for _, k := range event.Kinds {
		names = append(names, k.Name)
	}
	return names
}

func (a *api) addEvents(log *event.Log) {
	o := operation("list-events", http.MethodGet, "/api/v1/events", "What has happened on this instance; as a stream for those who accept text/event-stream",
		http.StatusUnprocessableEntity)
	o.Responses["200"] = describe("The newest events, oldest first; as a stream, those and all that follow", content[Events](a, "application/json"), streamContent(content[event.Event](a, eventStream)))
	register(a, o, func(_ context.Context, in *eventsInput) (*huma.StreamResponse, error) {
		f, resumed, err := in.filter()
		if err != nil {
			return nil, err
		}
		if wantsStream(in.Accept) {
			return &huma.StreamResponse{Body: func(ctx huma.Context) { a.streamEvents(ctx, log, f, resumed) }}, nil
		}
		events := []event.Event{}
		if f.Limit > 0 {
			if events, err = log.Select(f); err != nil {
				return nil, err
			}
		}
		return &huma.StreamResponse{Body: func(ctx huma.Context) { a.answerJSON(ctx, Events{Events: notNil(events)}) }}, nil
	})
}

// streamEvents sends past events and all that follow, until the client or the
// server goes.
func (a *api) streamEvents(ctx huma.Context, log *event.Log, f event.Filter, resumed bool) {
	_, next, cancel := log.Subscribe(latest)
	defer cancel()
	s, err := a.openStream(ctx)
	if err != nil {
		return // the client is gone, or was told
	}
	defer s.close()
	t := &tail{stream: s, log: log, filter: f}
	if err = t.past(resumed); err != nil {
		return
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
			err = t.follow(e)
		}
	}
}

// latest is after every event that there is.
const latest = 1<<64 - 1

// tail sends events to one client.
type tail struct {
	*stream
	log    *event.Log
	filter event.Filter
	last   uint64 // id of the last event that was sent or passed over
}

// past sends what has happened already: at most as many as the filter says,
// or all that a client has missed that comes back.
func (t *tail) past(resumed bool) error {
	f := t.filter
	if resumed {
		f.Limit = 0
	}
	recent := t.log.Recent(0, 1)
	if len(recent) > 0 {
		t.last = recent[0].ID
	}
	if t.filter.Limit == 0 && !resumed {
		return nil
	}
	events, err := t.log.Select(f)
	for i := 0; i < len(events) && err == nil; i++ {
		t.last = max(t.last, events[i].ID)
		err = t.sendEvent(events[i])
	}
	return err
}

// follow sends an event that has just happened, and before it those that a
// client which did not keep up has missed.
func (t *tail) follow(e event.Event) error {
	if e.ID <= t.last {
		return nil
	}
	missed := []event.Event{e}
	if e.ID > t.last+1 {
		missed = slices.DeleteFunc(t.log.Recent(t.last, 0), func(m event.Event) bool { return m.ID > e.ID })
	}
	for _, m := range missed {
		t.last = max(t.last, m.ID)
		if !t.filter.Matches(m) {
			continue
		}
		if err := t.sendEvent(m); err != nil {
			return err
		}
	}
	return nil
}

func (t *tail) sendEvent(e event.Event) error { return t.send(e.ID, "", e) }

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

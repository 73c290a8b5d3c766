package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/client"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/promotions"
)

var errEnough = errors.New("enough")

func (f *fakeAgent) happen(text string) {
	f.events.Add(context.Background(), event.Event{Time: then, Level: event.Info, Kind: "test", Text: text, Instance: "a"})
}

func TestEventsAreListedOldestFirst(t *testing.T) {
	s := start(t, "")
	var none Events
	if err := s.socket.Do(t.Context(), "GET", "/api/v1/events", nil, &none); err != nil || none.Events == nil || len(none.Events) != 0 {
		t.Errorf("without any: %v, %v", none.Events, err)
	}
	for i := 1; i <= 5; i++ {
		s.fake.happen(fmt.Sprint(i))
	}
	for query, want := range map[string]string{"": "1 2 3 4 5", "?limit=2": "4 5", "?after=3": "4 5", "?after=1&limit=1": "5", "?limit=0": ""} {
		var got Events
		if err := s.socket.Do(t.Context(), "GET", "/api/v1/events"+query, nil, &got); err != nil {
			t.Fatal(err)
		}
		if texts(got.Events) != want {
			t.Errorf("%q: %q, want %q", query, texts(got.Events), want)
		}
	}
}

func texts(events []event.Event) string {
	all := make([]string, len(events))
	for i, e := range events {
		all[i] = e.Text
	}
	return strings.Join(all, " ")
}

// follow streams events until there are n.
func follow(t *testing.T, c *client.Client, path string, n int, each func(i int)) []event.Event {
	t.Helper()
	var got []event.Event
	err := c.Stream(t.Context(), path, func(e client.Event) error {
		var parsed event.Event
		if err := json.Unmarshal(e.Data, &parsed); err != nil {
			return err
		}
		if e.ID != fmt.Sprint(parsed.ID) || e.Name != "" {
			return fmt.Errorf("event %q has name %q and id %q", e.Data, e.Name, e.ID)
		}
		got = append(got, parsed)
		if len(got) == n {
			return errEnough
		}
		each(len(got))
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Fatalf("stream %s: %v", path, err)
	}
	return got
}

func TestAStreamOfEventsGoesOnWithWhatFollows(t *testing.T) {
	s := start(t, "")
	for i := 1; i <= 3; i++ {
		s.fake.happen(fmt.Sprint(i))
	}
	got := follow(t, s.socket, "/api/v1/events?limit=2", 5, func(i int) {
		if i >= 2 {
			s.fake.happen(fmt.Sprint(i + 2))
		}
	})
	if texts(got) != "2 3 4 5 6" {
		t.Errorf("got %s", texts(got))
	}
}

func TestAStreamThatComesBackMissesNothing(t *testing.T) {
	s := start(t, token)
	for i := 1; i <= 200; i++ {
		s.fake.happen(fmt.Sprint(i))
	}
	got := follow(t, s.socket, "/api/v1/events?after=10", 190, func(int) {})
	if got[0].Text != "11" || got[189].Text != "200" {
		t.Errorf("from %s to %s", got[0].Text, got[189].Text)
	}
	req := []string{"Authorization", "Bearer " + token, "Last-Event-ID", "198"}
	if a := s.tcp(t, "GET", "/api/v1/events", "", req...); strings.Count(a.body, `"id"`) != 2 {
		t.Errorf("Last-Event-ID: %s", a.body)
	}
}

// TestAPromotionIsFollowedStepByStepToItsEnd: every step once, in order, and
// the stream ends by itself.
func TestAPromotionIsFollowedStepByStepToItsEnd(t *testing.T) {
	s := start(t, "")
	var begun promotions.PromotionStatus
	if err := s.socket.Do(t.Context(), "POST", "/api/v1/promotions", promotions.PromotionRequest{}, &begun); err != nil {
		t.Fatal(err)
	}
	script := []func(*promotions.PromotionStatus){
		func(p *promotions.PromotionStatus) { p.Steps = append(p.Steps, ha.Step{Name: "lease"}) },
		func(p *promotions.PromotionStatus) { p.Phase = ha.PhaseRestore; p.Working = "restore" },
		func(p *promotions.PromotionStatus) {
			p.Steps = append(p.Steps, ha.Step{Name: "restore"}, ha.Step{Name: "swap"})
		},
		func(p *promotions.PromotionStatus) { p.State, p.Epoch = promotions.PromotionDone, 4 },
	}
	var got []string
	next := func() {
		if len(script) == 0 {
			return
		}
		step := script[0]
		script = script[1:]
		s.fake.change(func() {
			p := s.fake.promos["p1"]
			step(&p)
			s.fake.promos["p1"] = p
		})
	}
	err := s.socket.Stream(t.Context(), "/api/v1/promotions/current", func(e client.Event) error {
		switch e.Name {
		case eventStep:
			var step ha.Step
			if err := json.Unmarshal(e.Data, &step); err != nil {
				return err
			}
			got = append(got, "step "+step.Name)
			if step.Name == "restore" {
				return nil // the next one is on its way
			}
		default:
			var status promotions.PromotionStatus
			if err := json.Unmarshal(e.Data, &status); err != nil {
				return err
			}
			got = append(got, fmt.Sprintf("%s %s %s", e.Name, status.State, status.Phase))
		}
		next()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := "status running lease, step lease, status running restore, step restore, step swap, end promoted restore"
	if strings.Join(got, ", ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, ", "), want)
	}
}

func TestCancellingWhenNoPromotionIsUnderWayIsRefused(t *testing.T) {
	s := start(t, "")
	s.fake.change(func() { s.fake.status.Promotion, s.fake.status.Last = nil, nil })
	if err := s.socket.Do(t.Context(), "DELETE", "/api/v1/promotions/current", nil, nil); !client.Refused(err) {
		t.Errorf("got %v", err)
	}
}

func TestAPromotionThatHasEndedIsOneAnswer(t *testing.T) {
	s := start(t, "")
	s.fake.change(func() {
		s.fake.promos["old"] = promotions.PromotionStatus{ID: "old", State: promotions.PromotionRolledBack, Steps: []ha.Step{{Name: "lease"}}, Error: "cancelled"}
		s.fake.status.Last = &ha.Result{ID: "old"}
	})
	var names []string
	err := s.socket.Stream(t.Context(), "/api/v1/promotions/current", func(e client.Event) error {
		names = append(names, e.Name)
		return nil
	})
	if err != nil || strings.Join(names, " ") != "step end" {
		t.Errorf("got %v, %v", names, err)
	}
	err = s.socket.Do(t.Context(), "DELETE", "/api/v1/promotions/current", nil, nil)
	if !client.Refused(err) || !strings.Contains(err.Error(), "rolled back") {
		t.Errorf("cancel: %v", err)
	}
	err = s.socket.Stream(t.Context(), "/api/v1/promotions/none", func(client.Event) error { return nil })
	var p *client.Problem
	if !errors.As(err, &p) || p.Status != 404 {
		t.Errorf("unknown: %v", err)
	}
}

func TestStreamsEndWhenTheServerDoes(t *testing.T) {
	s := start(t, "")
	s.fake.happen("1")
	s.fake.change(func() {
		s.fake.promos["p1"] = promotions.PromotionStatus{ID: "p1", State: promotions.PromotionRunning}
	})
	opened, ended := make(chan struct{}, 2), make(chan error, 2)
	for _, path := range []string{"/api/v1/events", "/api/v1/promotions/p1"} {
		go func() {
			ended <- s.socket.Stream(context.WithoutCancel(t.Context()), path, func(client.Event) error {
				opened <- struct{}{}
				return nil
			})
		}()
	}
	for range 2 {
		<-opened
	}
	s.stop()
	for range 2 {
		if err := <-ended; err != nil {
			t.Errorf("stream: %v", err)
		}
	}
}

func TestWhatAcceptMeans(t *testing.T) {
	for accept, want := range map[string]bool{
		"": false, "*/*": false, "application/json": false, "text/event-stream": true,
		"application/json;q=0.5, Text/Event-Stream;q=0.9": true, "text/event-streams": false,
	} {
		if got := wantsStream(accept); got != want {
			t.Errorf("%q: %t", accept, got)
		}
	}
}

// TestAStreamSendsWhatIsAskedFor: chosen kinds alone, also those of before.
func TestAStreamSendsWhatIsAskedFor(t *testing.T) {
	s := start(t, "")
	for i := range 6 {
		kind := "backup"
		if i%2 == 1 {
			kind = "pull"
		}
		s.fake.events.Add(t.Context(), event.Event{Time: then, Level: event.Info, Kind: kind, Text: fmt.Sprint(i), Instance: "a"})
	}
	got := follow(t, s.socket, "/api/v1/events?kind=pull&limit=2", 4, func(i int) {
		if i == 2 {
			for n := 6; n < 10; n++ {
				kind := map[bool]string{true: "pull", false: "head"}[n%2 == 1]
				s.fake.events.Add(t.Context(), event.Event{Time: then, Level: event.Info, Kind: kind, Text: fmt.Sprint(n), Instance: "a"})
			}
		}
	})
	if texts(got) != "3 5 7 9" {
		t.Errorf("%q", texts(got))
	}
}

// TestAClientThatFallsBehindMissesNothing: what its queue had no room for is
// read from the log.
func TestAClientThatFallsBehindMissesNothing(t *testing.T) {
	f := newFake(t)
	for i := range 10 {
		f.happen(fmt.Sprint(i))
	}
	w := httptest.NewRecorder()
	past := f.events.Recent(0, 0)
	tail := &tail{stream: &stream{w: w, deadlines: &deadlines{rc: http.NewResponseController(w), now: time.Now}}, log: f.events, last: past[2].ID}
	for _, e := range []event.Event{past[1], past[6], past[5], past[7]} {
		if err := tail.follow(e); err != nil {
			t.Fatal(err)
		}
	}
	var ids []string
	for line := range strings.Lines(w.Body.String()) {
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			ids = append(ids, strings.TrimSpace(id))
		}
	}
	if got := strings.Join(ids, " "); got != "4 5 6 7 8" {
		t.Errorf("%q", got)
	}
}

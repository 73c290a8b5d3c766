package peers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/report"
)

// SightingPath is where an instance says what it sees of the head, below its URL, to
// whoever has the key.
const SightingPath = "/api/v1/sightings"

// sightingKind is the type that the signature of an answer covers.
const sightingKind = "sighting"

// Sightings are what instances see of the head. What this one last said that it sees is
// remembered: whoever repeats a question costs no request to the bucket. They are safe for
// concurrent use.
type Sightings struct {
	host Host

	mu    sync.Mutex
	at    time.Duration // monotonic; 0: never
	shown *ha.Position

	// The records of the other instances as they were when this one first saw an
	// older head; nil: it sees none. One that has changed since is of an instance
	// that uses this bucket.
	records map[string]blobstore.Token
}

// NewSightings has asked nobody yet.
func NewSightings(h Host) *Sightings { return &Sightings{host: h} }

// Sight answers a peer's question, which carries a notification's signature, with
// what this instance sees of the head now. The answer is signed for that question.
func (s *Sightings) Sight(ctx context.Context, header http.Header, body []byte) ([]byte, error) {
	if err := s.host.verify(header, body); err != nil {
		return nil, err
	}
	payload, err := json.Marshal(s.sees(ctx))
	if err != nil {
		return nil, fmt.Errorf("encode what is seen: %w", err)
	}
	return s.host.Ring.Sign(s.scope(header.Get(webhooks.HeaderWebhookID)), payload)
}

func (s *Sightings) scope(id string) seal.Scope {
	return seal.Scope{Type: sightingKind, Cluster: s.host.Control.Cluster(), Object: id}
}

// sees is what this instance sees of the head: its bucket is asked, once a second at
// most.
func (s *Sightings) sees(ctx context.Context) ha.Sighting {
	core := s.host.View()
	out := ha.Sighting{Instance: s.host.Self.Name, Seen: core.Seen, Head: core.SeenHead, Leading: core.Leading && core.Bucket == "ok"}
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.host.Clock.Now().Mono; s.shown == nil || now-s.at >= time.Second {
		h, err := s.host.Control.Head(ctx)
		if err != nil {
			out.Error = "its bucket does not show it the head: " + err.Error()
			return out
		}
		shown := h.Position()
		s.shown, s.at = &shown, now
	}
	out.Shown = s.shown
	return out
}

// lookTimeout bounds one question.
const lookTimeout = 10 * time.Second

// ask asks an instance at a URL what it sees.
func (s *Sightings) ask(ctx context.Context, to string) (seen ha.Sighting, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	req, id, err := s.host.message(ctx, to, SightingPath, []byte("{}"))
	if err != nil {
		return seen, err
	}
	resp, err := s.host.send(req)
	if err != nil {
		return seen, err
	}
	defer resp.Body.Close()
	signed, err := io.ReadAll(io.LimitReader(resp.Body, control.MaxObject))
	if err != nil {
		return seen, err
	}
	if resp.StatusCode != http.StatusOK {
		return seen, fmt.Errorf("it answered %s", resp.Status)
	}
	payload, err := s.host.Ring.Verify(s.scope(id), signed)
	if err != nil {
		return seen, err
	}
	return seen, json.Unmarshal(payload, &seen)
}

// Survey asks every other instance what it sees: at its URL, and where that does
// not answer by its record in the bucket.
func (s *Sightings) Survey(ctx context.Context) ([]ha.Sighting, error) {
	if err := s.host.Records.Refresh(ctx); err != nil {
		return nil, err
	}
	s.NoteRecords()
	others := s.host.others()
	all := make([]ha.Sighting, len(others))
	err := control.InParallel(ctx, len(others), func(i int) error {
		all[i] = s.of(ctx, others[i])
		return nil
	})
	return all, errors.Join(err, ctx.Err())
}

// of is what one instance sees.
func (s *Sightings) of(ctx context.Context, of ha.Peer) ha.Sighting {
	why := "it has no URL"
	if of.URL != "" {
		seen, err := s.ask(ctx, of.URL)
		switch {
		case err == nil && seen.Instance == of.Name:
			return seen
		case err == nil:
			why = fmt.Sprintf("at %s %s answers", of.URL, seen.Instance)
		default:
			why = fmt.Sprintf("at %s: %v", of.URL, err)
		}
	}
	if seen, ok := s.recorded(of.Name); ok {
		return seen
	}
	return ha.Sighting{Instance: of.Name, Error: why + ", and its record in the bucket has not been written since this instance saw the older head"}
}

// recorded is what an instance sees by its record. A record that is written
// to this bucket is of an instance that reads this bucket.
func (s *Sightings) recorded(name string) (ha.Sighting, bool) {
	r, core := s.host.Records.Reading().Rows[name], s.host.View()
	if r.Record == nil || core.Older == nil {
		return ha.Sighting{}, false
	}
	if o := r.Record.Older; o != nil && o.Shown != nil {
		return *o, true
	}
	s.mu.Lock()
	token, known := s.records[name]
	noted := s.records != nil
	s.mu.Unlock()
	if !noted || known && token == r.Attrs.Token {
		return ha.Sighting{}, false
	}
	shown := core.Older.Head.Position()
	return ha.Sighting{Instance: name, Shown: &shown, Seen: shown, Leading: r.Record.Role == ha.RoleActive && r.Record.State == report.StateActive}, true
}

// NoteRecords notes which records there are when an older head is first seen.
func (s *Sightings) NoteRecords() {
	older := s.host.View().Older
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case older == nil:
		s.records = nil
	case s.records == nil:
		s.records = make(map[string]blobstore.Token)
		for name, r := range s.host.Records.Reading().Rows {
			s.records[name] = r.Attrs.Token
		}
	}
}

// OwnSighting is what this instance's record says of an older head; nil: it sees
// none.
func OwnSighting(core ha.Status, name string) *ha.Sighting {
	if core.Older == nil {
		return nil
	}
	shown := core.Older.Head.Position()
	return &ha.Sighting{Instance: name, Shown: &shown, Seen: core.Seen, Head: core.Older.Seen}
}

// SameSighting reports whether two say the same of an older head.
func SameSighting(x, y *ha.Sighting) bool {
	return (x == nil) == (y == nil) && (x == nil || *x.Shown == *y.Shown && x.Seen == y.Seen)
}

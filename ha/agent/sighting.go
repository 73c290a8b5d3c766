package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/membership"
	"github.com/understudy-ha/understudy/ha/report"
	"github.com/understudy-ha/understudy/ha/webhook"
)

// SightingPath is where an instance says what it sees of the head, below its URL, to
// whoever has the key.
const SightingPath = "/api/v1/sightings"

// sightingKind is the type that the signature of an answer covers.
const sightingKind = "sighting"

// sighting remembers what this instance last said that it sees: whoever repeats a
// question costs no request to the bucket. It is safe for concurrent use.
type sighting struct {
	mu    sync.Mutex
	at    time.Duration // monotonic; 0: never
	shown *ha.Position

	// The records of the other instances as they were when this one first saw an
	// older head; nil: it sees none. One that has changed since is of an instance
	// that uses this bucket.
	records map[string]blobstore.Token
}

// Sight answers a peer's question, which carries a notification's signature, with
// what this instance sees of the head now. The answer is signed for that question.
func (a *Agent) Sight(ctx context.Context, header http.Header, body []byte) ([]byte, error) {
	if err := a.VerifyNotification(header, body); err != nil {
		return nil, err
	}
	payload, err := json.Marshal(a.sees(ctx))
	if err != nil {
		return nil, fmt.Errorf("encode what is seen: %w", err)
	}
	return a.cfg.Ring.Sign(a.sightingScope(header.Get(webhooks.HeaderWebhookID)), payload)
}

func (a *Agent) sightingScope(id string) seal.Scope {
	return seal.Scope{Type: sightingKind, Cluster: a.control.Cluster(), Object: id}
}

// sees is what this instance sees of the head: its bucket is asked, once a second at
// most.
func (a *Agent) sees(ctx context.Context) ha.Sighting {
	s, core := &a.sighting, a.state.View()
	out := ha.Sighting{Instance: a.self.Name, Seen: core.Seen, Head: core.SeenHead, Leading: core.Leading && core.Bucket == "ok"}
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := a.cfg.Clock.Now().Mono; s.shown == nil || now-s.at >= time.Second {
		h, err := a.control.Head(ctx)
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

// askSighting asks an instance at a URL what it sees.
func (a *Agent) askSighting(ctx context.Context, to string) (ha.Sighting, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	var s ha.Sighting
	id, err := membership.RandomHex(a.cfg.Random, 12)
	if err != nil {
		return s, err
	}
	id = "msg_" + id
	hook, err := webhooks.NewWebhookRaw(a.cfg.Ring.NotificationSecret(a.control.Cluster()))
	if err != nil {
		return s, fmt.Errorf("sign question: %w", err)
	}
	req, err := webhook.Signed(ctx, hook, strings.TrimSuffix(to, "/")+SightingPath, id, []byte("{}"), a.cfg.Clock.Now().Wall, a.cfg.Version)
	if err != nil {
		return s, err
	}
	resp, err := a.cfg.HTTP.Do(req)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	signed, err := io.ReadAll(io.LimitReader(resp.Body, control.MaxObject))
	if err != nil {
		return s, err
	}
	if resp.StatusCode != http.StatusOK {
		return s, fmt.Errorf("it answered %s", resp.Status)
	}
	payload, err := a.cfg.Ring.Verify(a.sightingScope(id), signed)
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(payload, &s)
}

// sightings asks every other instance what it sees: at its URL, and where that does
// not answer by its record in the bucket.
func (a *Agent) sightings(ctx context.Context) ([]ha.Sighting, error) {
	if err := a.records.Refresh(ctx); err != nil {
		return nil, err
	}
	a.noteRecords()
	others := a.others()
	all := make([]ha.Sighting, len(others))
	err := control.InParallel(ctx, len(others), func(i int) error {
		all[i] = a.sightingOf(ctx, others[i])
		return nil
	})
	return all, errors.Join(err, ctx.Err())
}

// others are all instances that are known to this one: by their records, by the
// configurations that were in force, by the heads.
func (a *Agent) others() []ha.Peer {
	known := map[string]string{}
	add := func(name, url string) {
		if name != "" && name != a.self.Name && known[name] == "" {
			known[name] = url
		}
	}
	_, config := a.configs.Current()
	for name, r := range a.records.Reading().Rows {
		if r.Record != nil {
			add(name, r.Record.URL)
		} else {
			add(name, "")
		}
	}
	if config != nil {
		for _, m := range config.Instances {
			add(m.Name, m.URL)
		}
	}
	if o := a.state.View().Older; o != nil {
		add(o.Seen.Active.Name, o.Seen.Active.URL)
		add(o.Head.Active.Name, o.Head.Active.URL)
	}
	var all []ha.Peer
	for name, url := range known {
		if !config.Removed(name) {
			all = append(all, ha.Peer{Name: name, URL: url})
		}
	}
	slices.SortFunc(all, func(x, y ha.Peer) int { return strings.Compare(x.Name, y.Name) })
	return all
}

// sightingOf is what one instance sees.
func (a *Agent) sightingOf(ctx context.Context, of ha.Peer) ha.Sighting {
	why := "it has no URL"
	if of.URL != "" {
		s, err := a.askSighting(ctx, of.URL)
		switch {
		case err == nil && s.Instance == of.Name:
			return s
		case err == nil:
			why = fmt.Sprintf("at %s %s answers", of.URL, s.Instance)
		default:
			why = fmt.Sprintf("at %s: %v", of.URL, err)
		}
	}
	if s, ok := a.recordedSighting(of.Name); ok {
		return s
	}
	return ha.Sighting{Instance: of.Name, Error: why + ", and its record in the bucket has not been written since this instance saw the older head"}
}

// recordedSighting is what an instance sees by its record. A record that is written
// to this bucket is of an instance that reads this bucket.
func (a *Agent) recordedSighting(name string) (ha.Sighting, bool) {
	r, core := a.records.Reading().Rows[name], a.state.View()
	if r.Record == nil || core.Older == nil {
		return ha.Sighting{}, false
	}
	if o := r.Record.Older; o != nil && o.Shown != nil {
		return *o, true
	}
	s := &a.sighting
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

// noteRecords notes which records there are when an older head is first seen.
func (a *Agent) noteRecords() {
	s, older := &a.sighting, a.state.View().Older
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case older == nil:
		s.records = nil
	case s.records == nil:
		s.records = make(map[string]blobstore.Token)
		for name, r := range a.records.Reading().Rows {
			s.records[name] = r.Attrs.Token
		}
	}
}

// ownSighting is what this instance's record says of an older head; nil: it sees
// none.
func ownSighting(core ha.Status, name string) *ha.Sighting {
	if core.Older == nil {
		return nil
	}
	shown := core.Older.Head.Position()
	return &ha.Sighting{Instance: name, Shown: &shown, Seen: core.Seen, Head: core.Older.Seen}
}

// sameSighting reports whether two say the same of an older head.
func sameSighting(x, y *ha.Sighting) bool {
	return (x == nil) == (y == nil) && (x == nil || *x.Shown == *y.Shown && x.Seen == y.Seen)
}

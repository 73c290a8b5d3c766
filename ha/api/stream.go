package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// keepAlive is how often an idle stream sends a comment, so that proxies keep
// the connection and a client that is gone is noticed.
const keepAlive = 15 * time.Second

const eventStream = "text/event-stream"

// wantsStream reports whether a client accepts server-sent events.
func wantsStream(accept string) bool {
	for part := range strings.SplitSeq(accept, ",") {
		kind, _, _ := strings.Cut(part, ";")
		if strings.EqualFold(strings.TrimSpace(kind), eventStream) {
			return true
		}
	}
	return false
}

// stream sends server-sent events.
type stream struct {
	w         http.ResponseWriter
	deadlines *deadlines
	close     func() // it no longer counts
}

// maxStreams is how many streams one caller may have at once.
const maxStreams = 64

// streams counts the streams of each caller. It is safe for concurrent use.
type streams struct {
	mu sync.Mutex
	of map[string]int
}

// begin counts one more, unless there are too many.
func (s *streams) begin(who string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of[who] >= maxStreams {
		return false
	}
	if s.of == nil {
		s.of = make(map[string]int)
	}
	s.of[who]++
	return true
}

func (s *streams) end(who string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of[who]--; s.of[who] == 0 {
		delete(s.of, who)
	}
}

var errStreams = errors.New("too many streams")

// openStream begins a stream of server-sent events. Close ends it.
func (a *api) openStream(ctx huma.Context) (*stream, error) {
	_, w := humago.Unwrap(ctx)
	who := caller(ctx.Context())
	if !a.streams.begin(who) {
		deadlinesOf(ctx.Context()).write()
		writeProblem(w, http.StatusTooManyRequests, fmt.Sprintf("%s follows %d streams already: end some of them first", who, maxStreams))
		return nil, errStreams
	}
	s := &stream{w: w, deadlines: deadlinesOf(ctx.Context()), close: func() { a.streams.end(who) }}
	h := w.Header()
	h.Set("Content-Type", eventStream)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	w.WriteHeader(http.StatusOK)
	if err := s.ping(); err != nil {
		s.close()
		return nil, err
	}
	s.deadlines.answered()
	return s, nil
}

// send sends one event; id 0 and name "" are left out.
func (s *stream) send(id uint64, name string, data any) error {
	text, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("write event: %w", err)
	}
	var b bytes.Buffer
	if id > 0 {
		fmt.Fprintf(&b, "id: %d\n", id)
	}
	if name != "" {
		fmt.Fprintf(&b, "event: %s\n", name)
	}
	fmt.Fprintf(&b, "data: %s\n\n", text)
	return s.write(b.Bytes())
}

// ping sends a comment.
func (s *stream) ping() error { return s.write([]byte(": \n\n")) }

func (s *stream) write(p []byte) error {
	s.deadlines.write()
	if _, err := s.w.Write(p); err != nil {
		return err
	}
	return s.deadlines.rc.Flush()
}

// answerJSON is for calls that answer with JSON or with a stream.
func (a *api) answerJSON(ctx huma.Context, v any) {
	ctx.SetHeader("Content-Type", "application/json")
	ctx.SetStatus(http.StatusOK)
	_ = a.huma.Marshal(ctx.BodyWriter(), "application/json", v) // a failure means that nobody is there to tell
}

package api

import (
	"context"
	"net/http"
	"time"
)

// deadlines moves the deadlines of one request's connection. A deadline that
// cannot be set, because the connection is gone, shows with the next read or
// write.
type deadlines struct {
	rc  *http.ResponseController
	now func() time.Time
}

type deadlinesKey struct{}

// withDeadlines gives every request a deadline for its first write.
func (a *api) withDeadlines(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d := &deadlines{rc: http.NewResponseController(w), now: a.now}
		d.write()
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), deadlinesKey{}, d)))
	})
}

func deadlinesOf(ctx context.Context) *deadlines { return ctx.Value(deadlinesKey{}).(*deadlines) }

// endOfBody lifts the deadline for reading: were it to pass while the request
// is being worked on, the server would take its client for gone.
func (d *deadlines) endOfBody() { _ = d.rc.SetReadDeadline(time.Time{}) }

// write begins the time that the next write may take.
func (d *deadlines) write() { _ = d.rc.SetWriteDeadline(d.now().Add(writeTimeout)) }

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
	rc      *http.ResponseController
	now     func() time.Time
	hasBody bool
}

type deadlinesKey struct{}

// withDeadlines gives every request a deadline for its first write.
func (a *api) withDeadlines(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d := &deadlines{rc: http.NewResponseController(w), now: a.now, hasBody: r.ContentLength != 0}
		d.write()
		defer d.body()
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), deadlinesKey{}, d)))
	})
}

func deadlinesOf(ctx context.Context) *deadlines { return ctx.Value(deadlinesKey{}).(*deadlines) }

// body begins the time that the request's body may take, if it has one. The
// server reads what nothing has asked for before it writes an answer.
func (d *deadlines) body() {
	if d.hasBody {
		_ = d.rc.SetReadDeadline(d.now().Add(bodyTimeout))
	}
}

// answered has the server read no more of the request: an answer has begun.
func (d *deadlines) answered() {
	d.hasBody = false
	d.endOfBody()
}

// endOfBody lifts the deadline for reading: were it to pass while the request
// is being worked on, the server would take its client for gone.
func (d *deadlines) endOfBody() { _ = d.rc.SetReadDeadline(time.Time{}) }

// write begins the time that the next write may take.
func (d *deadlines) write() {
	d.body()
	_ = d.rc.SetWriteDeadline(d.now().Add(writeTimeout))
}

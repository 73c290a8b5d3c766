package miniostore

import (
	"context"
	"net/http"
	"time"
)

type dateKey struct{}

// withDate returns a context for one call, and where the store's time of its
// last answer goes. The SDK's results do not tell it.
func withDate(ctx context.Context) (context.Context, *time.Time) {
	date := new(time.Time)
	return context.WithValue(ctx, dateKey{}, date), date
}

// dated notes the dates of answers.
type dated struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (d dated) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := d.next.RoundTrip(req)
	if date, ok := req.Context().Value(dateKey{}).(*time.Time); ok && err == nil {
		// Zero if the store sent no date; every one that we know sends it.
		*date, _ = http.ParseTime(resp.Header.Get("Date"))
	}
	return resp, err
}

package client

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// Pauses between two attempts.
const (
	firstPause = 100 * time.Millisecond
	maxPause   = 2 * time.Second
)

// WithPatience has Backup, BackupAndWait, Leader and Role try again for as long
// as this while the agent does not answer, or cannot use its bucket: while it
// is being restarted, say. Without it they try once. A refusal is an answer. A
// request whose answer was lost is made again, which costs one more backup at
// most.
func WithPatience(d time.Duration) Option { return func(o *options) { o.patience = d } }

// patiently does something until it is answered, or the patience is over; then
// the last failure counts.
func (c *Client) patiently(ctx context.Context, do func(context.Context) error) error {
	if c.patience <= 0 {
		return do(ctx)
	}
	enough, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		err := do(ctx)
		if err == nil || !passing(err) || ctx.Err() != nil {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-enough.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
	}
}

// passing reports whether an error may be gone with the next attempt.
func passing(err error) bool {
	var p *Problem
	if !errors.As(err, &p) {
		return !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
	}
	switch p.Status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

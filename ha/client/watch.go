package client

import (
	"context"
	"time"
)

// DefaultEvery is how often Watch asks unless told otherwise.
const DefaultEvery = time.Second

// unansweredLooks is after how many looks in a row without an answer nobody
// counts as known to lead.
const unansweredLooks = 3

// Watch tells each who leads: at once, and whenever that changes, until ctx
// ends (its error) or each fails (its error). It asks every so often (0:
// DefaultEvery). When the agent has not answered three times in a row, each is
// given the zero Leader: nothing is known, and an application that must not run
// twice should not go on as if it led.
func (c *Client) Watch(ctx context.Context, every time.Duration, each func(Leader) error) error {
	if every <= 0 {
		every = DefaultEvery
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	var last Leader
	for told, unanswered := false, 0; ; {
		l, err := c.look(ctx, every)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			unanswered = 0
		} else if unanswered++; unanswered < unansweredLooks {
			l = last
		}
		if known := err == nil || unanswered >= unansweredLooks; known && (!told || l != last) {
			if err := each(l); err != nil {
				return err
			}
			told, last = true, l
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// look asks who leads, for a bounded time.
func (c *Client) look(ctx context.Context, every time.Duration) (Leader, error) {
	ctx, cancel := context.WithTimeout(ctx, max(every, DefaultEvery))
	defer cancel()
	return c.leader(ctx)
}

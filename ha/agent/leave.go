package agent

import (
	"context"
	"time"

	"github.com/understudy-ha/understudy/ha"
)

// farewellTimeout is how long an agent that ends may take to say so in the
// bucket, beyond what its application may take to stop.
const farewellTimeout = 5 * time.Second

// leave ends the loop in good order: an application that ends with this agent is
// stopped, and on the active the head says so, which spares a successor the wait
// for it. Whatever keeps that from being said costs the successor that wait, and
// nothing else.
func (a *Agent) leave(ctx context.Context) {
	if a.cfg.Application == nil {
		return // it runs on without its agent
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.app.Bound().Stop+farewellTimeout)
	defer cancel()
	const request = "farewell"
	said := a.asking.Expect(request)
	defer a.asking.Forget(request)
	a.runner.Until(ctx, ha.Farewell{Request: request}, said)
}

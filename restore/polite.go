package restore

import (
	"context"

	"github.com/understudy-ha/understudy/backup/polite"
	"github.com/understudy-ha/understudy/backup/source"
)

// Polite makes a Stage under the given context take only what others leave of
// processor and disk: for a rehearsal, not for a promotion. What a database
// server does for it is not ours to slow down.
func Polite(ctx context.Context) context.Context { return polite.Context(ctx) }

// AllowDamage makes a Stage under the given context stage a state that was
// damaged when it was backed up. Otherwise that is a source.DamageError.
func AllowDamage(ctx context.Context) context.Context { return source.AllowDamage(ctx) }

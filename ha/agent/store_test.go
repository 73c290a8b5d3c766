package agent

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
)

// liar ignores a kind of precondition.
type liar struct {
	blobstore.Store
	ignores func(blobstore.Condition) bool
}

func (l *liar) Put(ctx context.Context, key string, body []byte, cond blobstore.Condition) (blobstore.Attrs, error) {
	if l.ignores(cond) {
		cond = blobstore.Always
	}
	return l.Store.Put(ctx, key, body, cond)
}

func TestAStoreThatIgnoresPreconditionsIsRefused(t *testing.T) {
	for names, ignores := range map[string]func(blobstore.Condition) bool{
		"create-if-absent": blobstore.Condition.Absent,
		"compare-and-swap": func(c blobstore.Condition) bool { return c.Match() != "" },
	} {
		t.Run(names, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *cluster) {
				refused := func(what string, err error) {
					if !errors.Is(err, control.ErrBucket) || !strings.Contains(err.Error(), names) {
						t.Errorf("%s: error %v, want one that names %s", what, err, names)
					}
				}
				fresh := c.host("fresh").config()
				fresh.Store = &liar{storetest.NewMemory(), ignores}
				_, err := Init(t.Context(), fresh, ha.DefaultConfig())
				refused("init", err)

				a := c.host("a")
				a.init()
				before := len(c.memory.Keys())
				moved := a.config()
				moved.Store = &liar{moved.Store, ignores}
				refused("start", runOnce(t, moved))
				if after := len(c.memory.Keys()); after != before {
					t.Errorf("left in the bucket: %v", c.memory.Keys())
				}
			})
		})
	}
}

func TestAStoreThatCannotBeAskedIsNotCalledUnsafe(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a := c.host("a")
		a.store.Inject(storetest.Fault{Op: storetest.Conditional, Times: storetest.Forever, Do: storetest.Fail(blobstore.ErrDenied)})
		_, err := Init(t.Context(), a.config(), ha.DefaultConfig())
		if !errors.Is(err, blobstore.ErrDenied) || errors.Is(err, control.ErrBucket) {
			t.Errorf("error %v", err)
		}
	})
}

package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/understudy-ha/understudy/blobstore"
)

// NewBuried returns a store in which every key has been written and deleted
// before it is first put: in a bucket with versions, a delete marker lies there
// then, and some stores mistake that for a blob.
func NewBuried(next blobstore.Store) blobstore.Store { return &buried{Store: next} }

type buried struct {
	blobstore.Store
	keys sync.Map // by key: a func() error that buries it once
}

// Put implements blobstore.Store.
func (b *buried) Put(ctx context.Context, key string, body []byte, cond blobstore.Condition) (blobstore.Attrs, error) {
	if err := blobstore.CheckKey(key); err == nil {
		bury, _ := b.keys.LoadOrStore(key, sync.OnceValue(func() error { return b.bury(context.WithoutCancel(ctx), key) }))
		if err := bury.(func() error)(); err != nil {
			return blobstore.Attrs{}, err
		}
	}
	return b.Store.Put(ctx, key, body, cond)
}

func (b *buried) bury(ctx context.Context, key string) error {
	_, err := b.Store.Put(ctx, key, []byte("long gone"), blobstore.IfAbsent())
	if err := errors.Join(err, b.Store.Delete(ctx, key)); err != nil {
		return fmt.Errorf("bury %s: %w", key, err)
	}
	return nil
}

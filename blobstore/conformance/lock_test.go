package conformance_test

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/conformance"
	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/e2e/server"
)

// forgetful takes locks, and does not keep them.
type forgetful struct{ *storetest.Memory }

func (f forgetful) Put(ctx context.Context, key string, body []byte, cond blobstore.Condition) (blobstore.Attrs, error) {
	return f.Memory.Put(ctx, key, body, cond.Locked(blobstore.Lock{Mode: blobstore.Governance}))
}

// obedient deletes locked versions.
type obedient struct{ *storetest.Memory }

func (obedient) DeleteVersion(context.Context, string, string, bool) error { return nil }

func TestALockIsProved(t *testing.T) {
	m := server.SharedMinIO(t)
	m.Setenv(t)
	at := func(bucket, lock string) blobstore.Store {
		s, err := providers.Open(t.Context(), storetest.WithPath(t, bucket, "/cluster")+"&lock="+lock)
		if err != nil {
			t.Fatal(err)
		}
		return blobstore.Retry(s, blobstore.RetryOptions{})
	}
	locking := func() *storetest.Memory { return &storetest.Memory{Versioned: true, Locking: blobstore.Compliance} }
	for name, tt := range map[string]struct {
		store   blobstore.Store
		outcome conformance.Outcome
		says    string
	}{
		"no lock":              {at(m.NewBucket(t), "auto"), conformance.OK, "no object lock"},
		"a lock":               {at(m.NewLockedBucket(t), "auto"), conformance.OK, "(COMPLIANCE): a locked version was not deleted"},
		"off":                  {at(m.NewLockedBucket(t), "off"), conformance.OK, "it is off"},
		"who may lift it":      {at(m.NewLockedBucket(t), "governance"), conformance.Warning, "s3:BypassGovernanceRetention"},
		"a lock in memory":     {locking(), conformance.OK, "was not deleted"},
		"a store that forgets": {forgetful{locking()}, conformance.Failed, "says that it is locked"},
		"a store that deletes": {obedient{locking()}, conformance.Failed, "was deleted"},
		"asked for, not there": {at(m.NewBucket(t), "compliance"), conformance.Failed, "the bucket has none"},
	} {
		t.Run(name, func(t *testing.T) {
			check, has := conformance.Lock(t.Context(), conformance.Config{Store: tt.store, Random: rand.Reader})
			if !has || check.Outcome != tt.outcome || !strings.Contains(check.Detail, tt.says) {
				t.Errorf("%t, %s: %q; want %s with %q", has, check.Outcome, check.Detail, tt.outcome, tt.says)
			}
		})
	}
	if _, has := conformance.Lock(t.Context(), conformance.Config{Store: struct{ blobstore.Store }{locking()}, Random: rand.Reader}); has {
		t.Error("a store without locks was examined")
	}
}

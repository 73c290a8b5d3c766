package control

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/clock"
)

// hostile is a bucket that answers reads of objects as it likes.
type hostile struct {
	blobstore.Store
	size int64
	body func() io.Reader
}

func (h *hostile) Get(ctx context.Context, key string, opt blobstore.GetOptions) (io.ReadCloser, blobstore.Attrs, error) {
	if h.body == nil {
		return h.Store.Get(ctx, key, opt)
	}
	return io.NopCloser(h.body()), blobstore.Attrs{Key: key, Size: h.size, Token: "hostile"}, nil
}

// unending gives the same byte for ever.
type unending struct{}

func (unending) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '['
	}
	return len(p), nil
}

// goodObjects is one good object of each kind, of epoch 3.
func goodObjects(cluster string) map[string]struct {
	kind   ha.Kind
	object any
} {
	const epoch = 3
	peer := ha.Peer{Name: "a", Incarnation: "i"}
	ref := backup.Ref{ID: "x", Epoch: epoch, Sequence: 7, Key: "backups/x.json", Digest: strings.Repeat("0", 64)}
	config := ha.DefaultConfig()
	config.Cluster = cluster
	configText, err := json.Marshal(&config)
	if err != nil {
		panic(err)
	}
	return map[string]struct {
		kind   ha.Kind
		object any
	}{
		ha.ClusterKey:                      {ha.KindCluster, &ha.Cluster{Format: ha.Format, ID: cluster}},
		ha.HeadKey:                         {ha.KindHead, &ha.Head{Format: ha.Format, Cluster: cluster, Epoch: epoch, Rev: 9, Active: peer, Newest: &ref}},
		ha.LeaseKey:                        {ha.KindLease, &ha.Lease{Format: ha.Format, Cluster: cluster, Epoch: epoch}},
		ha.MarkerKey(epoch):                {ha.KindMarker, &ha.Marker{Format: ha.Format, Cluster: cluster, Epoch: epoch, Active: peer}},
		ha.AckKey(epoch, peer):             {ha.KindAck, &ha.Ack{Format: ha.Format, Cluster: cluster, Epoch: epoch, Instance: peer}},
		ha.OldAckKey(epoch, "a"):           {ha.KindAck, &ha.Ack{Format: ha.Format, Cluster: cluster, Epoch: epoch, Instance: peer}},
		ha.SalvageKey(epoch, peer, &ref):   {ha.KindSalvage, &ha.SalvageRecord{Format: ha.Format, Cluster: cluster, Epoch: epoch, Instance: peer, Backup: &ref}},
		ha.SalvageKey(epoch, peer, nil):    {ha.KindSalvage, &ha.SalvageRecord{Format: ha.Format, Cluster: cluster, Epoch: epoch, Instance: peer}},
		ha.OldSalvageKey(epoch, "a"):       {ha.KindSalvage, &ha.SalvageRecord{Format: ha.Format, Cluster: cluster, Epoch: epoch, Instance: peer}},
		ha.ConfigKey(digestOf(configText)): {ha.KindConfig, &config},
		ha.InstanceKey("a"):                {ha.KindInstance, &ha.Instance{Format: ha.Format, Cluster: cluster, Name: "a"}},
	}
}

// allocated is how much do allocates, whatever becomes of it.
func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestAHostileBucketIsRefusedByName: whatever a bucket answers in the place of a
// control object is an error that names the object, costs little memory, and
// never counts as the object.
func TestAHostileBucketIsRefusedByName(t *testing.T) {
	ring := newRing(t)
	bucketOf := func(cluster string, store blobstore.Store) *Store {
		return New(Config{Store: store, Ring: ring, Timeout: DefaultTimeout, Clock: clock.System()}, cluster)
	}
	h := &hostile{Store: storetest.NewMemory()}
	b, other := bucketOf("one", h), bucketOf("two", h)
	signed := map[string][]byte{}
	for key, o := range goodObjects("one") {
		text, err := b.Encode(o.kind, key, o.object)
		if err != nil {
			t.Fatal(err)
		}
		signed[key] = text
	}
	const most = 8 << 20 // bytes; an object has 1 MiB at most
	for key, o := range goodObjects("one") {
		good := signed[key]
		refused := func(what string, size int64, body func() io.Reader) {
			t.Helper()
			h.size, h.body = size, body
			var err error
			spent := allocated(func() { _, _, err = b.Read(t.Context(), o.kind, key, "") })
			if outcome := ReadOutcome(err); outcome != ha.Unverified && outcome != ha.Unknown {
				t.Errorf("%s: %s: %v, %v", key, what, outcome, err)
			} else if !strings.Contains(err.Error(), key) {
				t.Errorf("%s: %s: the error does not name it: %v", key, what, err)
			}
			if spent > most {
				t.Errorf("%s: %s: took %d bytes of memory", key, what, spent)
			}
		}
		as := func(what string, text []byte) {
			t.Helper()
			refused(what, int64(len(text)), func() io.Reader { return bytes.NewReader(text) })
		}
		for i := 0; i < len(good); i += 1 + len(good)/97 {
			spoilt := bytes.Clone(good)
			spoilt[i] ^= 0x10 // not a bit that base64 leaves unused, nor the case of a name
			as(fmt.Sprintf("byte %d", i), spoilt)
			as(fmt.Sprintf("the first %d bytes", i), good[:i])
		}
		for foreign, text := range signed {
			if foreign != key {
				as("the object "+foreign, text)
			}
		}
		theirs := goodObjects("two")[key]
		text, err := other.Encode(theirs.kind, key, theirs.object)
		if err != nil {
			t.Fatal(err)
		}
		as("another cluster's", text)
		as("something after it", append(bytes.Clone(good), good...))
		as("deep nesting", bytes.Repeat([]byte("["), MaxObject))
		as("deep nesting inside", []byte(`{"payload":"`+base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte(`{"a":`), 100_000))+`","signatures":[{"protected":"e30","signature":""}]}`))
		as("many signatures", []byte(`{"payload":"e30","signatures":[`+strings.Repeat(`{"protected":"e30","signature":""},`, 20_000)+`{}]}`))
		as("zeros", make([]byte, 4096))
		for name, size := range map[string]int64{"100 GiB": 100 << 30, "a size that is not known": -1, "a size of less than nothing": -1 << 62, "a large size": MaxObject} {
			refused(name+", and the object", size, func() io.Reader { return bytes.NewReader(good) })
			refused(name+", and no end", size, func() io.Reader { return unending{} })
		}
		refused("no end", int64(len(good)), func() io.Reader { return io.MultiReader(bytes.NewReader(good), unending{}) })

		h.size, h.body = int64(len(good)), func() io.Reader { return bytes.NewReader(good) }
		if _, _, err := b.Read(t.Context(), o.kind, key, ""); err != nil {
			t.Errorf("%s: the object itself: %v", key, err)
		}
	}
}

// TestAHostileManifestIsRefusedByName: the same for manifests.
func TestAHostileManifestIsRefusedByName(t *testing.T) {
	h := &hostile{Store: storetest.NewMemory()}
	b := New(Config{Store: h, Ring: newRing(t), Timeout: DefaultTimeout, Clock: clock.System()}, "one")
	ref := backup.Ref{ID: "x", Epoch: 1, Sequence: 1, Key: "backups/x.json", Digest: strings.Repeat("0", 64)}
	for name, c := range map[string]struct {
		size int64
		body io.Reader
	}{
		"nothing":      {0, strings.NewReader("")},
		"no end":       {10, unending{}},
		"100 GiB":      {100 << 30, unending{}},
		"below 0":      {-1, unending{}},
		"deep nesting": {60_000, strings.NewReader(strings.Repeat("[", 60_000))},
	} {
		h.size, h.body = c.size, func() io.Reader { return c.body }
		var err error
		spent := allocated(func() { _, err = b.Repository().Load(t.Context(), ref) })
		if err == nil || !strings.Contains(err.Error(), ref.Key) || !backup.Damaged(err) && !errors.Is(err, blobstore.ErrUnavailable) && !errors.Is(err, blobstore.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
		if spent > 4<<20 {
			t.Errorf("%s: took %d bytes of memory", name, spent)
		}
	}
}

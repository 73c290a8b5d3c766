package agent

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
)

// Errors about the bucket and the key. Test with errors.Is.
var (
	// ErrBucket marks a bucket that answers and cannot be used all the same:
	// no cluster in it, another one, a store that ignores preconditions.
	ErrBucket = errors.New("the bucket cannot be used")
	// ErrUnverified marks a control object that is there, and whose signature,
	// form, cluster or place is wrong.
	ErrUnverified = errors.New("cannot be verified")
)

// maxObject is the most bytes that a control object may have.
const maxObject = 1 << 20

// Bucket reads and writes one cluster's control objects: signed JSON. It is
// safe for concurrent use.
type Bucket struct {
	store   blobstore.Store
	ring    *seal.Ring
	cluster string
	timeout time.Duration // of one request

	clock Clock

	// recovered, when set, is told of what is read from earlier versions.
	recovered func(ctx context.Context, key string, v blobstore.Version)
	// older, when set, judges a head that is older than seen.
	older func(text string) error
	seen  ha.Position

	mu      sync.Mutex
	latency latencies
	took    time.Duration // the last request
	wrote   ha.Now        // when this process last wrote something,
	written time.Time     // and when that was by the store's clock
}

// OpenBucket reads and verifies cluster.json. A bucket without one is
// ErrBucket, and the error says what to do; a wrong key is one of package
// seal's kinds.
func OpenBucket(ctx context.Context, store blobstore.Store, ring *seal.Ring) (*Bucket, ha.Cluster, error) {
	return openBucket(ctx, Config{Store: store, Ring: ring, RequestTimeout: DefaultRequestTimeout, Clock: SystemClock()})
}

func openBucket(ctx context.Context, cfg Config) (*Bucket, ha.Cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.RequestTimeout)
	defer cancel()
	signed, _, err := blobstore.ReadAll(ctx, cfg.Store, ha.ClusterKey, maxObject)
	if errors.Is(err, blobstore.ErrNotFound) {
		if _, err := cfg.Store.Stat(ctx, ha.HeadKey); err == nil {
			return nil, ha.Cluster{}, fmt.Errorf("%w: it has %s but no %s: somebody deleted it; restore the object's last version", ErrBucket, ha.HeadKey, ha.ClusterKey)
		}
		return nil, ha.Cluster{}, fmt.Errorf("%w: it holds no cluster (no %s): make one here with: understudy init, or check UNDERSTUDY_BUCKET if there is one already (then: understudy join)", ErrBucket, ha.ClusterKey)
	}
	if err != nil {
		return nil, ha.Cluster{}, fmt.Errorf("read %s: %w", ha.ClusterKey, err)
	}
	id, err := claimedCluster(signed)
	if err != nil {
		return nil, ha.Cluster{}, fmt.Errorf("read %s: %w: %w", ha.ClusterKey, ErrUnverified, err)
	}
	b := newBucket(cfg, id)
	object, err := b.decode(ha.KindCluster, ha.ClusterKey, signed)
	if err != nil {
		return nil, ha.Cluster{}, err
	}
	return b, *object.(*ha.Cluster), nil
}

func newBucket(cfg Config, cluster string) *Bucket {
	return &Bucket{store: cfg.Store, ring: cfg.Ring, cluster: cluster, timeout: cfg.RequestTimeout, clock: cfg.Clock, latency: newLatencies()}
}

// claimedCluster reads which cluster a signed cluster.json says that it is of,
// before that can be verified: the signature covers the answer.
func claimedCluster(signed []byte) (string, error) {
	var object struct {
		Payload string `json:"payload"`
	}
	if err := json.Unmarshal(signed, &object); err != nil {
		return "", err
	}
	payload, err := base64.RawURLEncoding.DecodeString(object.Payload)
	if err != nil {
		return "", err
	}
	var c ha.Cluster
	if err := json.Unmarshal(payload, &c); err != nil {
		return "", err
	}
	return c.ID, nil
}

// Cluster is the cluster's id.
func (b *Bucket) Cluster() string { return b.cluster }

// Repository is the cluster's backups.
func (b *Bucket) Repository() *backup.Repository {
	return &backup.Repository{Store: b.store, Ring: b.ring, Cluster: b.cluster, Recovered: b.recovered}
}

// TellRecovered sets who is told of each object that is damaged or missing, and
// of which an earlier version is read instead. Call it before all else.
func (b *Bucket) TellRecovered(tell func(ctx context.Context, key string, v blobstore.Version)) {
	b.recovered = tell
}

// CompareWith has each head that Head reads compared with the highest version that
// this host has seen: of an older one it is told, and what older returns is Head's
// error. Call it before all else.
func (b *Bucket) CompareWith(seen ha.Position, older func(text string) error) {
	b.seen, b.older = seen, older
}

// Head reads and verifies the head.
func (b *Bucket) Head(ctx context.Context) (*ha.Head, error) {
	object, _, err := b.read(ctx, ha.KindHead, ha.HeadKey, "")
	if errors.Is(err, blobstore.ErrNotFound) {
		return nil, fmt.Errorf("%w: it has %s but no %s: the head was deleted; restore the object's last version, or write an earlier backup into a folder with: understudy restore latest --to DIR --as-of TIME", ErrBucket, ha.ClusterKey, ha.HeadKey)
	}
	if err != nil {
		return nil, err
	}
	h := object.(*ha.Head)
	if b.older != nil && h.IsOlder(b.seen) {
		if err := b.older(ha.OlderText(h, b.seen)); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// read reads and verifies a control object. An object that is there and wrong
// is ErrUnverified; everything else is an error kind of package blobstore.
func (b *Bucket) read(ctx context.Context, kind ha.Kind, key string, seen blobstore.Token) (any, blobstore.Attrs, error) {
	signed, attrs, err := b.fetch(ctx, key, seen)
	if err != nil {
		return nil, attrs, err
	}
	object, err := b.decode(kind, key, signed)
	return object, attrs, err
}

// fetch reads a control object's bytes, not yet verified.
func (b *Bucket) fetch(ctx context.Context, key string, seen blobstore.Token) ([]byte, blobstore.Attrs, error) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	start := b.clock.Now().Mono
	signed, attrs, err := blobstore.ReadChanged(ctx, b.store, key, seen, maxObject)
	b.observe(opRead, start, err)
	switch {
	case errors.Is(err, blobstore.ErrInvalid):
		return nil, attrs, fmt.Errorf("read %s: %w: %w", key, ErrUnverified, err)
	case err != nil:
		return nil, attrs, fmt.Errorf("read %s: %w", key, err)
	}
	return signed, attrs, nil
}

// decode verifies a control object's bytes.
func (b *Bucket) decode(kind ha.Kind, key string, signed []byte) (any, error) {
	payload, err := b.ring.Verify(b.scope(kind, key), signed)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w: %w", key, ErrUnverified, err)
	}
	object, err := ha.Decode(kind, payload)
	if err == nil {
		err = b.agrees(object, key)
	}
	if err == nil && kind == ha.KindConfig && key != ha.ConfigKey(digestOf(payload)) {
		err = errors.New("its content is not the one that its name says")
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w: %w", key, ErrUnverified, err)
	}
	return object, nil
}

// kindOf is the kind of the control object that has a key.
func kindOf(key string) ha.Kind {
	switch {
	case key == ha.ClusterKey:
		return ha.KindCluster
	case strings.HasPrefix(key, configFolder):
		return ha.KindConfig
	case strings.HasSuffix(key, ".ack.json"):
		return ha.KindAck
	case strings.HasSuffix(key, ".salvage.json"):
		return ha.KindSalvage
	}
	return ha.KindMarker
}

// Folders of control objects that are written once.
const (
	configFolder = "config/"
	demoteFolder = "demote/"
)

func (b *Bucket) scope(kind ha.Kind, key string) seal.Scope {
	return seal.Scope{Type: string(kind), Cluster: b.cluster, Object: key}
}

// agrees checks that an object is of this format and cluster, and is the one
// that its key names.
func (b *Bucket) agrees(object any, key string) error {
	var format int
	var cluster, want string
	switch o := object.(type) {
	case *ha.Cluster:
		format, cluster, want = o.Format, o.ID, ha.ClusterKey
	case *ha.Head:
		format, cluster, want = o.Format, o.Cluster, ha.HeadKey
	case *ha.Lease:
		format, cluster, want = o.Format, o.Cluster, ha.LeaseKey
	case *ha.Config:
		format, cluster, want = o.Format, o.Cluster, key
	case *ha.Marker:
		format, cluster, want = o.Format, o.Cluster, ha.MarkerKey(o.Epoch)
	case *ha.Ack:
		format, cluster, want = o.Format, o.Cluster, ha.AckKey(o.Epoch, o.Instance)
		if old := ha.OldAckKey(o.Epoch, o.Instance.Name); key == old {
			want = old
		}
	case *ha.SalvageRecord:
		format, cluster, want = o.Format, o.Cluster, ha.SalvageKey(o.Epoch, o.Instance, o.Backup)
		if old := ha.OldSalvageKey(o.Epoch, o.Instance.Name); key == old {
			want = old
		}
	case *ha.Instance:
		format, cluster, want = o.Format, o.Cluster, ha.InstanceKey(o.Name)
	}
	switch {
	case format != ha.Format:
		return fmt.Errorf("it has format %d, this version reads format %d", format, ha.Format)
	case cluster != b.cluster:
		return fmt.Errorf("it is of cluster %s, not %s", cluster, b.cluster)
	case key != want:
		return fmt.Errorf("it is the object of %s", want)
	}
	return nil
}

// encode signs a control object.
func (b *Bucket) encode(kind ha.Kind, key string, object any) ([]byte, error) {
	payload, err := json.Marshal(object)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", key, err)
	}
	return b.ring.Sign(b.scope(kind, key), payload)
}

// write signs and writes a control object, once. Its errors are the kinds of
// package blobstore.
func (b *Bucket) write(ctx context.Context, kind ha.Kind, key string, object any, cond blobstore.Condition) (blobstore.Token, error) {
	signed, err := b.encode(kind, key, object)
	if err != nil {
		return "", err
	}
	return b.put(ctx, key, signed, cond)
}

// put writes a signed control object, once.
func (b *Bucket) put(ctx context.Context, key string, signed []byte, cond blobstore.Condition) (blobstore.Token, error) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	start := b.clock.Now()
	attrs, err := b.store.Put(ctx, key, signed, cond)
	b.observe(opWrite, start.Mono, err)
	if err != nil {
		return "", fmt.Errorf("write %s: %w", key, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !attrs.Time.IsZero() {
		b.wrote, b.written = start, attrs.Time
	}
	return attrs.Token, nil
}

// remove deletes an object.
func (b *Bucket) remove(ctx context.Context, key string) error {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	start := b.clock.Now().Mono
	err := b.store.Delete(ctx, key)
	b.observe(opDelete, start, err)
	if err != nil {
		return fmt.Errorf("remove %s: %w", key, err)
	}
	return nil
}

// observe counts a request.
func (b *Bucket) observe(operation string, start time.Duration, err error) {
	failed := err != nil
	for _, expected := range []error{blobstore.ErrNotFound, blobstore.ErrNotModified, blobstore.ErrPrecondition} {
		failed = failed && !errors.Is(err, expected)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.took = b.clock.Now().Mono - start
	b.latency[operation].add(b.took, failed)
}

// storeTime is the present time by the store's clock, as far as it is known. It
// goes on by this host's clocks that count, not by its wall clock, which may be
// set in between.
func (b *Bucket) storeTime() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.clock.Now()
	if b.written.IsZero() {
		return now.Wall
	}
	return b.written.Add(max(now.Mono-b.wrote.Mono, now.Boot-b.wrote.Boot))
}

// names lists the control objects under prefix, and their names without that
// and ".json".
func (b *Bucket) names(ctx context.Context, prefix string) ([]blobstore.Attrs, []string, error) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	var found []blobstore.Attrs
	var names []string
	var failure error
	start := b.clock.Now().Mono
	defer func() { b.observe(opList, start, failure) }()
	for attrs, err := range b.store.List(ctx, prefix, "") {
		if failure = err; err != nil {
			return nil, nil, fmt.Errorf("list %s: %w", prefix, err)
		}
		if name, ok := strings.CutSuffix(strings.TrimPrefix(attrs.Key, prefix), ".json"); ok && name != "" {
			found, names = append(found, attrs), append(names, name)
		}
	}
	return found, names, nil
}

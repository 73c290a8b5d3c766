package control

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/clock"
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

// MaxObject is the most bytes that a control object may have.
const MaxObject = 1 << 20

// Store reads and writes one cluster's control objects: signed JSON. It is
// safe for concurrent use.
type Store struct {
	store   blobstore.Store
	ring    *seal.Ring
	cluster string
	timeout time.Duration // of one request

	clock clock.Clock

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

// Config is what a Store is given.
type Config struct {
	Store   blobstore.Store // the bucket; conditional writes are not retried inside
	Ring    *seal.Ring
	Timeout time.Duration // of one request; 0: DefaultTimeout
	Clock   clock.Clock   // nil: the host's own
}

// DefaultTimeout bounds one request for a control object.
const DefaultTimeout = 10 * time.Second

func (c Config) complete() Config {
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Clock == nil {
		c.Clock = clock.System()
	}
	return c
}

// Open reads and verifies cluster.json. A bucket without one is ErrBucket, and
// the error says what to do; a wrong key is one of package seal's kinds.
func Open(ctx context.Context, cfg Config) (*Store, ha.Cluster, error) {
	cfg = cfg.complete()
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	signed, _, err := blobstore.ReadAll(ctx, cfg.Store, ha.ClusterKey, MaxObject)
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
	b := New(cfg, id)
	object, err := b.decode(ha.KindCluster, ha.ClusterKey, signed)
	if err != nil {
		return nil, ha.Cluster{}, err
	}
	return b, *object.(*ha.Cluster), nil
}

// New is the control store of a cluster whose id is known. It asks the bucket
// for nothing.
func New(cfg Config, cluster string) *Store {
	cfg = cfg.complete()
	return &Store{store: cfg.Store, ring: cfg.Ring, cluster: cluster, timeout: cfg.Timeout, clock: cfg.Clock, latency: newLatencies()}
}

// Cluster is the cluster's id.
func (s *Store) Cluster() string { return s.cluster }

// Repository is the cluster's backups.
func (s *Store) Repository() *backup.Repository {
	return &backup.Repository{Store: s.store, Ring: s.ring, Cluster: s.cluster, Recovered: s.recovered}
}

// TellRecovered sets who is told of each object that is damaged or missing, and
// of which an earlier version is read instead. Call it before all else.
func (s *Store) TellRecovered(tell func(ctx context.Context, key string, v blobstore.Version)) {
	s.recovered = tell
}

// CompareWith has each head that Head reads compared with the highest version that
// this host has seen: of an older one it is told, and what older returns is Head's
// error. Call it before all else.
func (s *Store) CompareWith(seen ha.Position, older func(text string) error) {
	s.seen, s.older = seen, older
}

// Head reads and verifies the head.
func (s *Store) Head(ctx context.Context) (*ha.Head, error) {
	object, _, err := s.Read(ctx, ha.KindHead, ha.HeadKey, "")
	if errors.Is(err, blobstore.ErrNotFound) {
		return nil, fmt.Errorf("%w: it has %s but no %s: the head was deleted; restore the object's last version, or write an earlier backup into a folder with: understudy restore latest --to DIR --as-of TIME", ErrBucket, ha.ClusterKey, ha.HeadKey)
	}
	if err != nil {
		return nil, err
	}
	h := object.(*ha.Head)
	if s.older != nil && h.IsOlder(s.seen) {
		if err := s.older(ha.OlderText(h, s.seen)); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// Time is the present time by the store's clock, as far as it is known. It
// goes on by this host's clocks that count, not by its wall clock, which may be
// set in between.
func (s *Store) Time() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	if s.written.IsZero() {
		return now.Wall
	}
	return s.written.Add(now.Since(s.wrote))
}

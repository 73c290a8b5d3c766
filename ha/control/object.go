package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
)

// Read reads and verifies a control object. An object that is there and wrong
// is ErrUnverified; everything else is an error kind of package blobstore.
func (s *Store) Read(ctx context.Context, kind ha.Kind, key string, seen blobstore.Token) (any, blobstore.Attrs, error) {
	signed, attrs, err := s.fetch(ctx, key, seen)
	if err != nil {
		return nil, attrs, err
	}
	object, err := s.decode(kind, key, signed)
	return object, attrs, err
}

// fetch reads a control object's bytes, not yet verified.
func (s *Store) fetch(ctx context.Context, key string, seen blobstore.Token) ([]byte, blobstore.Attrs, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	start := s.clock.Now().Mono
	signed, attrs, err := blobstore.ReadChanged(ctx, s.store, key, seen, MaxObject)
	s.observe(opRead, start, err)
	switch {
	case errors.Is(err, blobstore.ErrInvalid):
		return nil, attrs, fmt.Errorf("read %s: %w: %w", key, ErrUnverified, err)
	case err != nil:
		return nil, attrs, fmt.Errorf("read %s: %w", key, err)
	}
	return signed, attrs, nil
}

// decode verifies a control object's bytes.
func (s *Store) decode(kind ha.Kind, key string, signed []byte) (any, error) {
	payload, err := s.ring.Verify(s.scope(kind, key), signed)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w: %w", key, ErrUnverified, err)
	}
	object, err := ha.Decode(kind, payload)
	if err == nil {
		err = s.agrees(object, key)
	}
	if err == nil && kind == ha.KindConfig && key != ha.ConfigKey(digestOf(payload)) {
		err = errors.New("its content is not the one that its name says")
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w: %w", key, ErrUnverified, err)
	}
	return object, nil
}

// KindOf is the kind of the control object that has a key.
func KindOf(key string) ha.Kind {
	switch {
	case key == ha.ClusterKey:
		return ha.KindCluster
	case strings.HasPrefix(key, ConfigFolder):
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
	ConfigFolder = "config/"
	DemoteFolder = "demote/"
)

func (s *Store) scope(kind ha.Kind, key string) seal.Scope {
	return seal.Scope{Type: string(kind), Cluster: s.cluster, Object: key}
}

// agrees checks that an object is of this format and cluster, and is the one
// that its key names.
func (s *Store) agrees(object any, key string) error {
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
	case cluster != s.cluster:
		return fmt.Errorf("it is of cluster %s, not %s", cluster, s.cluster)
	case key != want:
		return fmt.Errorf("it is the object of %s", want)
	}
	return nil
}

// Encode signs a control object.
func (s *Store) Encode(kind ha.Kind, key string, object any) ([]byte, error) {
	payload, err := json.Marshal(object)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", key, err)
	}
	return s.ring.Sign(s.scope(kind, key), payload)
}

// Write signs and writes a control object, once. Its errors are the kinds of
// package blobstore.
func (s *Store) Write(ctx context.Context, kind ha.Kind, key string, object any, cond blobstore.Condition) (blobstore.Token, error) {
	signed, err := s.Encode(kind, key, object)
	if err != nil {
		return "", err
	}
	return s.Put(ctx, key, signed, cond)
}

// Put writes a signed control object, once.
func (s *Store) Put(ctx context.Context, key string, signed []byte, cond blobstore.Condition) (blobstore.Token, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	start := s.clock.Now()
	attrs, err := s.store.Put(ctx, key, signed, cond)
	s.observe(opWrite, start.Mono, err)
	if err != nil {
		return "", fmt.Errorf("write %s: %w", key, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !attrs.Time.IsZero() {
		s.wrote, s.written = start, attrs.Time
	}
	return attrs.Token, nil
}

// Remove deletes an object.
func (s *Store) Remove(ctx context.Context, key string) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	start := s.clock.Now().Mono
	err := s.store.Delete(ctx, key)
	s.observe(opDelete, start, err)
	if err != nil {
		return fmt.Errorf("remove %s: %w", key, err)
	}
	return nil
}

// List lists the control objects under prefix, and their names without that
// and ".json".
func (s *Store) List(ctx context.Context, prefix string) ([]blobstore.Attrs, []string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	var found []blobstore.Attrs
	var names []string
	var failure error
	start := s.clock.Now().Mono
	defer func() { s.observe(opList, start, failure) }()
	for attrs, err := range s.store.List(ctx, prefix, "") {
		if failure = err; err != nil {
			return nil, nil, fmt.Errorf("list %s: %w", prefix, err)
		}
		if name, ok := strings.CutSuffix(strings.TrimPrefix(attrs.Key, prefix), ".json"); ok && name != "" {
			found, names = append(found, attrs), append(names, name)
		}
	}
	return found, names, nil
}

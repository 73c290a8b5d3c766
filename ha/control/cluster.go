package control

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
)

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

// PutClusterBack writes cluster.json again where the bucket does not have it, or
// has something in its place that nobody has signed, and reports whether it did.
// What another cluster's key, or a later key of this one, has signed stays.
func (s *Store) PutClusterBack(ctx context.Context, cluster ha.Cluster) (bool, error) {
	_, attrs, err := s.Read(ctx, ha.KindCluster, ha.ClusterKey, "")
	cond := blobstore.IfAbsent()
	switch {
	case err == nil:
		return false, nil
	case errors.Is(err, seal.ErrUnknownKey), errors.Is(err, seal.ErrScope):
		return false, err
	case errors.Is(err, ErrUnverified):
		cond = blobstore.IfMatch(attrs.Token)
	case !errors.Is(err, blobstore.ErrNotFound):
		return false, err
	}
	why := err
	_, err = s.Write(ctx, ha.KindCluster, ha.ClusterKey, cluster, cond)
	switch {
	case errors.Is(err, blobstore.ErrPrecondition):
		return false, nil // somebody else has just written it
	case err != nil:
		return false, fmt.Errorf("%w; %w", why, err)
	}
	return true, nil
}

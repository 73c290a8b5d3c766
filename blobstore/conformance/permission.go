package conformance

import (
	"context"
	"errors"

	"github.com/understudy-ha/understudy/blobstore"
)

const (
	permissionPut    = "permission-put"
	permissionGet    = "permission-get"
	permissionStat   = "permission-stat"
	permissionList   = "permission-list"
	permissionDelete = "permission-delete"
)

// withoutDelete is what does not work where nothing may be deleted.
const withoutDelete = "deleting is denied: backups and promotions work; removing an instance, leaving and expiry by the agent itself do not, and examinations leave their small objects behind (on S3 the permission is s3:DeleteObject)"

// permissions are tried one by one. Only what is denied counts here: the other
// ways to fail show in what needs the permission.
var permissions = []test{
	{permissionPut, "this host may write objects", func(ctx context.Context, s *scratch) (finding, error) {
		key := s.key("permission")
		_, err := s.put(ctx, key, s.body(key), blobstore.Always)
		return granted(err, "writing is denied: no backup can be stored (on S3 the permission is s3:PutObject)")
	}},
	{permissionGet, "this host may read objects", func(ctx context.Context, s *scratch) (finding, error) {
		_, err := s.read(ctx, s.key("permission"), "")
		return granted(err, "reading is denied: no instance can see who is active, and no backup can be restored (on S3 the permission is s3:GetObject)")
	}},
	{permissionStat, "this host may read objects' attributes", func(ctx context.Context, s *scratch) (finding, error) {
		_, err := s.store.Stat(ctx, s.key("permission"))
		return granted(err, "reading an object's attributes is denied: an epoch's first backup cannot check its packs (on S3 the permission is s3:GetObject)")
	}},
	{permissionList, "this host may list objects", func(ctx context.Context, s *scratch) (finding, error) {
		_, _, err := s.listed(ctx, s.key("permission"))
		return granted(err, "listing is denied: instances, older backups and history are not found, and a missing object is not told from a denied one (on S3 the permission is s3:ListBucket)")
	}},
	{permissionDelete, "this host may delete objects", func(ctx context.Context, s *scratch) (finding, error) {
		err := s.store.Delete(ctx, s.key("permission"))
		if errors.Is(err, blobstore.ErrDenied) {
			return finding{}, doubtf("%s", withoutDelete)
		}
		return granted(err, "")
	}},
}

func granted(err error, otherwise string) (finding, error) {
	switch {
	case err == nil, errors.Is(err, blobstore.ErrNotFound): // who may not look is not told that nothing is there
		return saw("granted")
	case errors.Is(err, blobstore.ErrDenied):
		return finding{}, &explainedError{otherwise, err}
	default:
		return finding{}, err
	}
}

package miniostore

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/internal/edge"
	"github.com/understudy-ha/understudy/blobstore/internal/s3api"
)

var _ blobstore.Locks = (*Store)(nil)

// LockMode implements blobstore.Locks.
func (s *Store) LockMode(ctx context.Context) (blobstore.LockMode, error) {
	if s.lock.Off() {
		return blobstore.NoLock, nil
	}
	enabled, mode, _, _, err := s.core.GetObjectLockConfig(ctx, s.bucket)
	if code := answered(err).Code; code == s3api.NoLockConfig || code == "NotImplemented" {
		return s.lock.Mode(false, "")
	}
	if err != nil {
		return blobstore.NoLock, translator.Error("read object lock of", s.bucket, err)
	}
	own := ""
	if mode != nil {
		own = string(*mode)
	}
	return s.lock.Mode(enabled == "Enabled", own)
}

// DefaultLock implements blobstore.DefaultLock.
func (s *Store) DefaultLock(ctx context.Context) (blobstore.LockMode, time.Duration, error) {
	_, mode, validity, unit, err := s.core.GetObjectLockConfig(ctx, s.bucket)
	if code := answered(err).Code; code == s3api.NoLockConfig || code == "NotImplemented" {
		return blobstore.NoLock, 0, nil
	}
	if err != nil {
		return blobstore.NoLock, 0, translator.Error("read object lock of", s.bucket, err)
	}
	if mode == nil || validity == nil || unit == nil {
		return blobstore.NoLock, 0, nil
	}
	if *unit == minio.Years {
		return blobstore.LockMode(*mode), s3api.DefaultLockOf(0, int(*validity)), nil
	}
	return blobstore.LockMode(*mode), s3api.DefaultLockOf(int(*validity), 0), nil
}

// addLock asks for what is written to be locked, and returns the checksum that
// the protocol wants with that.
func addLock(options *minio.PutObjectOptions, l blobstore.Lock, body []byte) (sum string) {
	if l.Mode == blobstore.NoLock {
		return ""
	}
	options.Mode, options.RetainUntilDate = minio.RetentionMode(l.Mode), l.Until.UTC()
	hash := md5.Sum(body)
	return base64.StdEncoding.EncodeToString(hash[:])
}

// LockOf implements blobstore.Locks.
func (s *Store) LockOf(ctx context.Context, key string) (blobstore.Lock, error) {
	if err := edge.Admit(ctx, "read lock of", key); err != nil {
		return blobstore.Lock{}, err
	}
	mode, until, err := s.core.GetObjectRetention(ctx, s.bucket, s.prefix+key, "")
	if answered(err).Code == s3api.NoLock {
		return blobstore.Lock{}, nil
	}
	if answered(err).Code == s3api.DeleteMarker {
		return blobstore.Lock{}, edge.Fail("read lock of", key, blobstore.ErrNotFound, err)
	}
	if err != nil {
		return blobstore.Lock{}, translator.Error("read lock of", key, err)
	}
	if mode == nil || until == nil {
		return blobstore.Lock{}, nil
	}
	return blobstore.Lock{Mode: blobstore.LockMode(*mode), Until: *until}, nil
}

// ExtendLock implements blobstore.Locks.
func (s *Store) ExtendLock(ctx context.Context, key string, l blobstore.Lock) error {
	if err := edge.Admit(ctx, "lock", key); err != nil {
		return err
	}
	mode, until := minio.RetentionMode(l.Mode), l.Until.UTC()
	err := s.core.PutObjectRetention(ctx, s.bucket, s.prefix+key, minio.PutObjectRetentionOptions{Mode: &mode, RetainUntilDate: &until})
	if err != nil {
		return translator.Error("lock", key, err)
	}
	return nil
}

// DeleteVersion implements blobstore.Locks.
func (s *Store) DeleteVersion(ctx context.Context, key, id string, bypass bool) error {
	if err := edge.Admit(ctx, "delete version of", key); err != nil {
		return err
	}
	err := s.core.RemoveObject(ctx, s.bucket, s.prefix+key, minio.RemoveObjectOptions{VersionID: id, GovernanceBypass: bypass})
	if err != nil {
		return translator.Error("delete version of", key, err)
	}
	return nil
}

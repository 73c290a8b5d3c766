package s3store

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

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
	out, err := s.client.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: aws.String(s.bucket)})
	if code := errorCode(err); code == s3api.NoLockConfig || code == "NotImplemented" {
		return s.lock.Mode(false, "")
	}
	if err != nil {
		return blobstore.NoLock, translator.Error("read object lock of", s.bucket, err)
	}
	config, own := out.ObjectLockConfiguration, ""
	if config == nil {
		return s.lock.Mode(false, "")
	}
	if rule := config.Rule; rule != nil && rule.DefaultRetention != nil {
		own = string(rule.DefaultRetention.Mode)
	}
	return s.lock.Mode(config.ObjectLockEnabled == types.ObjectLockEnabledEnabled, own)
}

// DefaultLock implements blobstore.DefaultLock.
func (s *Store) DefaultLock(ctx context.Context) (blobstore.LockMode, time.Duration, error) {
	out, err := s.client.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: aws.String(s.bucket)})
	if code := errorCode(err); code == s3api.NoLockConfig || code == "NotImplemented" {
		return blobstore.NoLock, 0, nil
	}
	if err != nil {
		return blobstore.NoLock, 0, translator.Error("read object lock of", s.bucket, err)
	}
	config := out.ObjectLockConfiguration
	if config == nil || config.Rule == nil || config.Rule.DefaultRetention == nil {
		return blobstore.NoLock, 0, nil
	}
	rule := config.Rule.DefaultRetention
	return blobstore.LockMode(rule.Mode), s3api.DefaultLockOf(int(aws.ToInt32(rule.Days)), int(aws.ToInt32(rule.Years))), nil
}

// addLock asks for what is written to be locked. Amazon wants a checksum with
// that.
func addLock(in *s3.PutObjectInput, l blobstore.Lock) {
	if l.Mode == blobstore.NoLock {
		return
	}
	in.ObjectLockMode, in.ObjectLockRetainUntilDate = types.ObjectLockMode(l.Mode), aws.Time(l.Until.UTC())
	in.ChecksumAlgorithm = types.ChecksumAlgorithmCrc32
}

// LockOf implements blobstore.Locks.
func (s *Store) LockOf(ctx context.Context, key string) (blobstore.Lock, error) {
	if err := edge.Admit(ctx, "read lock of", key); err != nil {
		return blobstore.Lock{}, err
	}
	out, err := s.client.GetObjectRetention(ctx, &s3.GetObjectRetentionInput{Bucket: aws.String(s.bucket), Key: aws.String(s.prefix + key)})
	if errorCode(err) == s3api.NoLock {
		return blobstore.Lock{}, nil
	}
	if errorCode(err) == s3api.DeleteMarker {
		return blobstore.Lock{}, edge.Fail("read lock of", key, blobstore.ErrNotFound, err)
	}
	if err != nil {
		return blobstore.Lock{}, translator.Error("read lock of", key, err)
	}
	if out.Retention == nil {
		return blobstore.Lock{}, nil
	}
	return blobstore.Lock{Mode: blobstore.LockMode(out.Retention.Mode), Until: aws.ToTime(out.Retention.RetainUntilDate)}, nil
}

// ExtendLock implements blobstore.Locks.
func (s *Store) ExtendLock(ctx context.Context, key string, l blobstore.Lock) error {
	if err := edge.Admit(ctx, "lock", key); err != nil {
		return err
	}
	_, err := s.client.PutObjectRetention(ctx, &s3.PutObjectRetentionInput{
		Bucket: aws.String(s.bucket), Key: aws.String(s.prefix + key), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32,
		Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionMode(l.Mode), RetainUntilDate: aws.Time(l.Until.UTC())},
	})
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
	in := &s3.DeleteObjectInput{Bucket: aws.String(s.bucket), Key: aws.String(s.prefix + key), VersionId: aws.String(id)}
	if bypass {
		in.BypassGovernanceRetention = aws.Bool(true)
	}
	if _, err := s.client.DeleteObject(ctx, in); err != nil {
		return translator.Error("delete version of", key, err)
	}
	return nil
}

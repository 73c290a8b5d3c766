package storetest

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/lifecycle"
)

// S3Bucket is a bucket that speaks S3, as one sees it behind a store's back.
type S3Bucket struct {
	Client *minio.Client
	Name   string
}

// Uploads names the uploads that nobody completed.
func (b S3Bucket) Uploads(t *testing.T) []string {
	t.Helper()
	var found []string
	for upload := range b.Client.ListIncompleteUploads(t.Context(), b.Name, "", true) {
		if upload.Err != nil {
			t.Fatalf("list uploads: %v", upload.Err)
		}
		found = append(found, upload.Key)
	}
	return found
}

// KeepVersions makes the bucket one that keeps versions.
func (b S3Bucket) KeepVersions(t *testing.T) {
	t.Helper()
	if err := b.Client.EnableVersioning(t.Context(), b.Name); err != nil {
		t.Fatalf("enable versioning: %v", err)
	}
}

// SetRules replaces the bucket's lifecycle rules.
func (b S3Bucket) SetRules(t *testing.T, rules ...lifecycle.Rule) {
	t.Helper()
	if err := b.Client.SetBucketLifecycle(t.Context(), b.Name, &lifecycle.Configuration{Rules: rules}); err != nil {
		t.Fatalf("set lifecycle rules: %v", err)
	}
}

// Rules returns the bucket's lifecycle rules as JSON, by their IDs.
func (b S3Bucket) Rules(t *testing.T) map[string]string {
	t.Helper()
	config, err := b.Client.GetBucketLifecycle(t.Context(), b.Name)
	if minio.ToErrorResponse(err).Code == "NoSuchLifecycleConfiguration" {
		return nil
	}
	if err != nil {
		t.Fatalf("get lifecycle rules: %v", err)
	}
	rules := make(map[string]string)
	for _, rule := range config.Rules {
		text, err := json.Marshal(rule)
		if err != nil {
			t.Fatalf("encode lifecycle rule: %v", err)
		}
		rules[rule.ID] = string(text)
	}
	return rules
}

// foreignRules are those that are not Understudy's.
func (b S3Bucket) foreignRules(t *testing.T) map[string]string {
	t.Helper()
	rules := b.Rules(t)
	for id := range rules {
		if strings.HasPrefix(id, "understudy ") {
			delete(rules, id)
		}
	}
	return rules
}

// Plant makes an object, of any name.
func (b S3Bucket) Plant(t *testing.T, name string) {
	t.Helper()
	if _, err := b.Client.PutObject(t.Context(), b.Name, name, strings.NewReader("x"), 1, minio.PutObjectOptions{}); err != nil {
		t.Fatalf("put %s: %v", name, err)
	}
}

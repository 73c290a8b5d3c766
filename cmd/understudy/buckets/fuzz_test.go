package buckets

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/cmd/understudy/settings"
)

// FuzzBucketURL: no URL opens anything but what it says. (That of gs:// looks
// for credentials in the network; its options have a target of their own.)
func FuzzBucketURL(f *testing.F) {
	for _, text := range []string{
		"s3://b/p?region=eu-central-1&endpoint=http://127.0.0.1:1", "minio://127.0.0.1:1/b/p?tls=false", "azblob://c/p?protocol=http", "file:///tmp/x/../y",
		"s3://", "s3://user:hunter2@b", "file://host/x", "minio://h/", "://", "s3://b/../../x?region=%00", "http://169.254.169.254/",
	} {
		f.Add(text)
	}
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_EC2_METADATA_DISABLED": "true", "AZURE_STORAGE_ACCOUNT": "a", "AZURE_STORAGE_KEY": "Yg==",
	} {
		f.Setenv(name, value)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.HasPrefix(strings.ToLower(text), "gs") || strings.HasPrefix(strings.ToLower(text), "file") {
			return // would make folders
		}
		_, err := Open(t.Context(), &settings.Host{Bucket: text}, slog.New(slog.DiscardHandler))
		if err != nil && strings.Contains(text, ":hunter2@") && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error tells a password: %v", err)
		}
	})
}

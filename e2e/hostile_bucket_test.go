package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/lifecycle"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/e2e/server"
)

// shortRules delete everything after a day.
func shortRules() *lifecycle.Configuration {
	return &lifecycle.Configuration{Rules: []lifecycle.Rule{{
		ID: "all", Status: "Enabled", Expiration: lifecycle.Expiration{Days: 1},
		NoncurrentVersionExpiration: lifecycle.NoncurrentVersionExpiration{NoncurrentDays: 1},
	}}}
}

// vandal does with a bucket all the harm that its credentials allow.
type vandal struct {
	*policed
	client *minio.Client
	// deleted counts the versions of packs and manifests that went for good.
	deleted int
}

// versions are all versions in the bucket.
func (v *vandal) versions() (all []minio.ObjectInfo) {
	v.t.Helper()
	for info := range v.client.ListObjects(v.t.Context(), v.name, minio.ListObjectsOptions{Prefix: policedPrefix + "/", Recursive: true, WithVersions: true}) {
		if info.Err != nil {
			v.t.Fatalf("list versions: %v", info.Err)
		}
		all = append(all, info)
	}
	return all
}

// rage tries everything, on everything that is there. What is denied is denied.
func (v *vandal) rage() {
	v.t.Helper()
	ctx := v.t.Context()
	_ = v.client.SetBucketLifecycle(ctx, v.name, shortRules())
	_ = v.client.SuspendVersioning(ctx, v.name)
	mode, validity, unit := minio.Governance, uint(1), minio.Days
	_ = v.client.SetBucketObjectLockConfig(ctx, v.name, &mode, &validity, &unit)
	_ = v.client.SetBucketPolicy(ctx, v.name, "")
	for _, info := range v.versions() {
		soon := time.Now().Add(2 * time.Second)
		_ = v.client.PutObjectRetention(ctx, v.name, info.Key, minio.PutObjectRetentionOptions{
			Mode: &mode, RetainUntilDate: &soon, VersionID: info.VersionID, GovernanceBypass: true,
		})
		err := v.client.RemoveObject(ctx, v.name, info.Key, minio.RemoveObjectOptions{VersionID: info.VersionID, GovernanceBypass: true})
		if data := strings.Contains(info.Key, "/packs/") || strings.Contains(info.Key, "/backups/"); err == nil && data {
			v.deleted++
		}
	}
	for i, info := range v.versions() {
		if i%2 == 0 { // over some an overwritten version, over the others a marker alone
			_, _ = v.client.PutObject(ctx, v.name, info.Key, strings.NewReader("spoilt"), 6, minio.PutObjectOptions{})
		}
		if i%3 != 0 {
			_ = v.client.RemoveObject(ctx, v.name, info.Key, minio.RemoveObjectOptions{})
		}
	}
	_ = v.client.RemoveBucketWithOptions(ctx, v.name, minio.RemoveBucketOptions{ForceDelete: true})
}

// TestNothingThatIsLockedIsLostToLeakedCredentials leaks the active's
// credentials and the shared key, and restores every backup afterwards.
func TestNothingThatIsLockedIsLostToLeakedCredentials(t *testing.T) {
	t.Parallel()
	p := newPoliced(t, server.SharedMinIO(t).NewLockedBucket(t))
	a := p.host("a", "active")
	a.run("init")
	p.appliesRules(a)
	a.serve()
	app := a.app.(guarded).dir
	content := make(map[string]string) // by the id of a backup
	var last backup.Ref
	for _, text := range []string{"one", "two", "three"} {
		if err := os.WriteFile(filepath.Join(app, "file"), []byte(strings.Repeat(text, 10_000)), 0o644); err != nil {
			t.Fatal(err)
		}
		last = query[backup.Ref](a, "backup")
		content[last.ID] = strings.Repeat(text, 10_000)
	}
	a.stopAgent()
	p.locks(last)
	before := p.now()

	v := &vandal{policed: p, client: p.minio.ClientOf(t, p.user("a", "active"))}
	v.rage()
	if v.deleted > 0 {
		t.Errorf("%d versions of packs and manifests were deleted for good", v.deleted)
	}
	if r := a.try("restore", "latest", "--to", a.path("nothing")); r.code == 0 {
		t.Fatal("the bucket was not spoilt")
	}
	for id, want := range content {
		p.restores(a, want, id, "--as-of", before)
	}
	p.restores(a, content[last.ID], "latest", "--as-of", before)

	// Who owns the account puts the control objects back; packs and manifests
	// are then read from the versions that are right.
	p.putBack(before)
	for id, want := range content {
		p.restores(a, want, id)
	}
}

// now is a time after all that was written, by the store's clock, which is this
// host's.
func (p *policed) now() string {
	for start := time.Now().Truncate(time.Millisecond); ; {
		if now := time.Now().Truncate(time.Millisecond); now.After(start) {
			return now.Format(time.RFC3339Nano)
		}
	}
}

// locks checks the lock of a backup's manifest, and that the head has none.
func (p *policed) locks(ref backup.Ref) {
	p.t.Helper()
	root := p.minio.Client(p.t)
	mode, until, err := root.GetObjectRetention(p.t.Context(), p.name, policedPrefix+"/"+ref.Key, "")
	if err != nil || *mode != minio.Compliance || time.Until(*until) < 13*24*time.Hour {
		p.t.Errorf("lock of %s: %v, %v, %v", ref.Key, mode, until, err)
	}
	if mode, _, err := root.GetObjectRetention(p.t.Context(), p.name, policedPrefix+"/head.json", ""); err == nil {
		p.t.Errorf("the head is locked: %v", *mode)
	}
}

// restores restores a backup and compares what comes.
func (p *policed) restores(a *host, want string, args ...string) {
	p.t.Helper()
	to := filepath.Join(p.t.TempDir(), "restored")
	a.run(append([]string{"restore", "--to", to}, args...)...)
	got, err := os.ReadFile(filepath.Join(to, "files", "file"))
	if err != nil || string(got) != want {
		p.t.Errorf("restore %q: %.20q…, %v; want %.20q…", args, got, err, want)
	}
}

// putBack makes the versions of control objects that were current at a time the
// current ones again, as an administrator does.
func (p *policed) putBack(before string) {
	p.t.Helper()
	at, err := time.Parse(time.RFC3339Nano, before)
	if err != nil {
		p.t.Fatal(err)
	}
	root, seen := p.minio.Client(p.t), map[string]bool{}
	for info := range root.ListObjects(p.t.Context(), p.name, minio.ListObjectsOptions{Prefix: policedPrefix + "/", Recursive: true, WithVersions: true}) {
		data := strings.Contains(info.Key, "/packs/") || strings.Contains(info.Key, "/backups/")
		if info.Err != nil {
			p.t.Fatal(info.Err)
		}
		if data || seen[info.Key] || info.LastModified.After(at) {
			continue
		}
		seen[info.Key] = true
		if info.IsDeleteMarker {
			continue
		}
		_, err := root.CopyObject(p.t.Context(), minio.CopyDestOptions{Bucket: p.name, Object: info.Key},
			minio.CopySrcOptions{Bucket: p.name, Object: info.Key, VersionID: info.VersionID})
		if err != nil {
			p.t.Fatalf("put back %s: %v", info.Key, err)
		}
	}
}

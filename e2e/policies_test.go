package e2e

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/e2e/server"
)

// guarded is an application whose hooks do nothing.
type guarded struct{ plain }

func (g guarded) config() string {
	return "application: {version: \"1\"}\n" + g.plain.config()
}

// policed is a cluster in a bucket of MinIO's, below a prefix, whose hosts have
// users of their own, with the policies that Understudy ships.
type policed struct {
	*cluster
	t     *testing.T
	minio *server.MinIOServer
	name  string // of the bucket
}

const policedPrefix = "some/prefix"

func newPoliced(t *testing.T, bucket string) *policed {
	t.Helper()
	u, err := url.Parse(bucket)
	if err != nil {
		t.Fatal(err)
	}
	p := &policed{t: t, minio: server.SharedMinIO(t), name: u.Host}
	p.cluster = newCluster(t, u.JoinPath(policedPrefix).String(), nil)
	return p
}

// user gives a user one of the policies, and returns its credentials.
func (p *policed) user(name, policy string) []string {
	p.t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "cmd", "understudy", "packaging", "policies", policy+".json"))
	if err != nil {
		p.t.Fatal(err)
	}
	for from, to := range map[string]string{"BUCKET": p.name, "PREFIX": policedPrefix} {
		text = []byte(strings.ReplaceAll(string(text), from, to))
	}
	return p.minio.SetUser(p.t, p.name+"-"+name, string(text))
}

// host adds a host whose user has a policy.
func (p *policed) host(name, policy string) *host {
	p.t.Helper()
	h := p.cluster.host(name, guarded{newPlain(p.t, filepath.Join(p.dir, name+"-app"))})
	h.env = append(h.env, p.user(name, policy)...)
	return h
}

// bucketsOf are the kinds of bucket that MinIO has.
func bucketsOf(t *testing.T, m *server.MinIOServer) map[string]string {
	t.Helper()
	versioned := m.NewBucket(t)
	u, err := url.Parse(versioned)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Client(t).EnableVersioning(t.Context(), u.Host); err != nil {
		t.Fatal(err)
	}
	return map[string]string{"plain": m.NewBucket(t), "versioned": versioned, "locked": m.NewLockedBucket(t)}
}

// TestPoliciesSuffice tells the story of a cluster whose hosts may do what the
// documentation says they need, and no more.
func TestPoliciesSuffice(t *testing.T) {
	t.Parallel()
	for name, bucket := range bucketsOf(t, server.SharedMinIO(t)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPoliced(t, bucket)
			a, b := p.host("a", "active"), p.host("b", "standby")
			if r := a.try("init"); r.code != 0 || !strings.Contains(r.errout, "DELETES NOTHING BY ITSELF") || !strings.Contains(r.errout, "s3:PutLifecycleConfiguration is needed") {
				t.Fatalf("init without the permission to set rules: %+v", r)
			}
			p.appliesRules(a)
			a.serve()
			b.run("join")
			b.serve()
			p.doctor(a, name)
			p.doctor(b, name)
			first := query[backup.Ref](a, "backup")
			b.caches(first.ID)
			b.rehearses()
			b.run("verify", "latest", "--deep")
			p.promotes(a, b)
		})
	}
}

// appliesRules sets the rules with the administrator's policy: the active may
// not.
func (p *policed) appliesRules(a *host) {
	p.t.Helper()
	if r := a.try("lifecycle", "apply"); r.code != 4 || !strings.Contains(r.errout, "s3:PutLifecycleConfiguration is needed") {
		p.t.Errorf("lifecycle apply as the active: %+v", r)
	}
	admin := *a
	admin.env = append(a.env[:len(a.env):len(a.env)], p.user("admin", "lifecycle")...)
	admin.run("lifecycle", "apply")
	if out := a.run("lifecycle", "show"); !strings.Contains(out, "The bucket deletes what has expired") {
		p.t.Errorf("lifecycle show: %s", out)
	}
}

// doctor examines the bucket as a host's user sees it.
func (p *policed) doctor(h *host, kind string) {
	p.t.Helper()
	type finding struct{ Name, Result, Detail string }
	lock := map[string]string{"plain": "no object lock", "versioned": "no object lock", "locked": "(COMPLIANCE): a locked version was not deleted"}
	for _, f := range query[[]finding](h, "doctor") {
		if f.Result == "failed" {
			p.t.Errorf("%s: doctor: %+v", h.name, f)
		}
		if f.Name == "object-lock" && !strings.Contains(f.Detail, lock[kind]) {
			p.t.Errorf("%s: doctor: %+v", h.name, f)
		}
	}
}

// promotes promotes a standby: with the policy of a standby, which cannot harm
// anybody, it waits, and goes on once it has the active's. Its predecessor then
// does with a standby's.
func (p *policed) promotes(a, b *host) {
	p.t.Helper()
	promoted := b.background("promote", "--yes")
	b.eventually("says what it may not do", func() error {
		if s := b.status(); !strings.Contains(s.Bucket, "s3:PutObject is needed") {
			return fmt.Errorf("bucket %q", s.Bucket)
		}
		return nil
	})
	if s := a.status(); !s.Leading || s.App != "running" {
		p.t.Errorf("the active while a standby may not promote: %+v", s)
	}
	p.user("b", "active")
	if r := received(p.t, "the promotion ends", promoted); r.code != 0 {
		p.t.Fatalf("promote once the policy is the active's: %+v", r)
	}
	b.is("active")
	a.is("in sync")
	p.user("a", "standby")
	second := query[backup.Ref](b, "backup")
	a.caches(second.ID)
	a.rehearses()
}

// TestPoliciesForbid tries what a leaked credential would be used for.
func TestPoliciesForbid(t *testing.T) {
	m := server.SharedMinIO(t)
	p := newPoliced(t, m.NewLockedBucket(t))
	leaked := map[string]*minio.Client{}
	for _, policy := range []string{"active", "standby"} {
		leaked[policy] = m.ClientOf(t, p.user(policy, policy))
	}
	root := m.Client(t)
	ids := map[string]string{}
	for _, key := range []string{"head.json", "config/c", "demote/d", "packs/aa/p", "backups/b", "streams/db/1-1/000000000001", "instances/i"} {
		info, err := root.PutObject(t.Context(), p.name, policedPrefix+"/"+key, strings.NewReader("x"), 1, minio.PutObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		ids[key] = info.VersionID
	}
	for name, c := range leaked {
		denied := func(what string, err error) {
			t.Helper()
			if minio.ToErrorResponse(err).Code != "AccessDenied" {
				t.Errorf("%s: %s: %v", name, what, err)
			}
		}
		for key, id := range ids {
			denied("delete a version of "+key, c.RemoveObject(t.Context(), p.name, policedPrefix+"/"+key, minio.RemoveObjectOptions{VersionID: id, GovernanceBypass: true}))
		}
		for _, key := range []string{"head.json", "config/c", "demote/d"} {
			denied("delete "+key, c.RemoveObject(t.Context(), p.name, policedPrefix+"/"+key, minio.RemoveObjectOptions{}))
		}
		_, err := c.PutObject(t.Context(), p.name, "elsewhere/x", strings.NewReader("x"), 1, minio.PutObjectOptions{})
		denied("write beside the prefix", err)
		denied("suspend versioning", c.SuspendVersioning(t.Context(), p.name))
		denied("change the rules", c.SetBucketLifecycle(t.Context(), p.name, shortRules()))
		denied("remove the bucket", c.RemoveBucket(t.Context(), p.name))
		for object := range c.ListObjects(t.Context(), p.name, minio.ListObjectsOptions{Prefix: "some/", Recursive: true}) {
			denied("list beside the prefix", object.Err)
		}
	}
	for _, key := range []string{"head.json", "lease.json", "packs/aa/p", "backups/b", "streams/db/1-1/000000000001", "streams/db/1-1/000000000002", "demote/d"} {
		_, err := leaked["standby"].PutObject(t.Context(), p.name, policedPrefix+"/"+key, strings.NewReader("y"), 1, minio.PutObjectOptions{})
		if minio.ToErrorResponse(err).Code != "AccessDenied" {
			t.Errorf("a standby writes %s: %v", key, err)
		}
	}
	for _, key := range []string{"packs/aa/p", "backups/b", "streams/db/1-1/000000000001", "instances/i"} { // what has expired, and who has left
		if err := leaked["active"].RemoveObject(t.Context(), p.name, policedPrefix+"/"+key, minio.RemoveObjectOptions{}); err != nil {
			t.Errorf("the active deletes %s: %v", key, err)
		}
	}
}

package e2e

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/e2e/server"
	"github.com/understudy-ha/understudy/ha/api"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/report"
)

// Each release leaves a bucket behind, in testdata/buckets: everything that the
// releases after it must be able to read. It is made by the program itself:
//
//	go test ./e2e -run 'TestTheBucketOfThisReleaseIsRead$' -args -bucket.keep=1.2.3
var bucketKeep = flag.String("bucket.keep", "", "release under whose name the bucket that the test makes is kept in testdata/buckets")

const releaseBuckets = "testdata/buckets"

// unreadable is what to do when a bucket of an earlier release is not read as it was.
const unreadable = "a bucket that an earlier release has made is not read as that release has read it: hosts are upgraded one after the other, and backups are kept for weeks. " +
	"Read the earlier format as well as the new one. Where that cannot be, say so in docs/upgrading.md and docs/CHANGELOG.md, have the older format refused by a message that names the release to go through, and only then delete the bucket from e2e/" + releaseBuckets

// leftBehind is what is true of a release's bucket, beside its files: bucket/ and key.
type leftBehind struct {
	Release    string                 `json:"release"`
	Backups    map[string]bool        `json:"backups"`    // by id: it is a salvage backup
	Content    map[string][]int       `json:"content"`    // generations, by the backup's id
	Newest     string                 `json:"newest"`     // its id
	Superseded []string               `json:"superseded"` // ids
	Users      []api.User             `json:"users"`
	Webhooks   []string               `json:"webhooks"`  // URLs
	Instances  []string               `json:"instances"` // names, or URLs of those that have not joined
	Config     map[string]any         `json:"config"`
	Log        []control.ClusterEvent `json:"log"`
}

// TestBucketsOfEarlierReleasesAreRead has a new host of today's program read, join and
// take over each bucket that a release has left behind.
func TestBucketsOfEarlierReleasesAreRead(t *testing.T) {
	t.Parallel()
	kept, err := filepath.Glob(releaseBuckets + "/*.tar.zst")
	if err != nil || len(kept) == 0 {
		t.Fatalf("no bucket of a release is in %s: %v", releaseBuckets, err)
	}
	for _, release := range releases(t) {
		if !slices.Contains(kept, filepath.Join(releaseBuckets, release+".tar.zst")) {
			t.Errorf("the release %s of docs/CHANGELOG.md has left no bucket behind: see docs/contributing.md", release)
		}
	}
	for _, file := range kept {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".tar.zst"), func(t *testing.T) {
			t.Parallel()
			t.Cleanup(func() {
				if t.Failed() {
					t.Error(unreadable)
				}
			})
			dir := t.TempDir()
			if out, err := output("tar", "--extract", "--zstd", "--same-permissions", "--no-same-owner", "--file", file, "--directory", dir); err != nil {
				t.Fatalf("unpack %s: %v\n%s", file, err, out)
			}
			readsBucket(t, dir)
		})
	}
}

// releases are those that the change log names.
func releases(t *testing.T) (all []string) {
	t.Helper()
	text, err := os.ReadFile("../docs/CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^## \[(\d+\.\d+\.\d+)\]`).FindAllStringSubmatch(string(text), -1) {
		all = append(all, m[1])
	}
	return all
}

// TestTheBucketOfThisReleaseIsRead makes a bucket with everything that one can hold,
// and has another host read it.
func TestTheBucketOfThisReleaseIsRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	makesBucket(t, dir, *bucketKeep)
	if *bucketKeep != "" {
		file := filepath.Join(releaseBuckets, *bucketKeep+".tar.zst")
		if out, err := output("tar", "--create", "--posix", "--zstd", "--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--file", file, "--directory", dir, "bucket", "key", "left.json"); err != nil {
			t.Fatalf("keep %s: %v\n%s", file, err, out)
		}
	}
	readsBucket(t, dir)
}

// bucketMaker makes a bucket with everything that one can hold.
type bucketMaker struct {
	*cluster
	left leftBehind
}

func (m *bucketMaker) app(h *host) *everything { return h.app.(*everything) }

// makesBucket leaves a bucket, its key ring and what is true of it in a folder.
func makesBucket(t *testing.T, dir, release string) {
	t.Helper()
	m := &bucketMaker{cluster: newCluster(t, "file://"+filepath.Join(dir, "bucket"), nil)}
	m.left = leftBehind{Release: release, Backups: map[string]bool{}, Content: map[string][]int{}}
	pg := server.Postgres(t)
	for _, name := range []string{"host-a", "host-b"} {
		db := strings.ReplaceAll(name, "-", "_")
		execute(t, pg.DSN("postgres"), "CREATE DATABASE "+db)
		m.host(name, newEverything(t, filepath.Join(m.dir, name+"-app"), pg, db))
	}
	a, b := m.hosts[0], m.hosts[1]
	m.begins(a, b)
	m.promotes(a, b)
	m.changesKey(a, b)
	m.left.Users, m.left.Webhooks, m.left.Instances, m.left.Config = shared(a)
	for _, h := range []*host{b, a} {
		h.stopAgent()
	}
	m.describes(a)
	key, err := os.ReadFile(m.key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.MarshalIndent(m.left, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"key": key, "left.json": text} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// begins makes the cluster with all that its configuration can hold.
func (m *bucketMaker) begins(a, b *host) {
	m.t.Helper()
	m.app(a).write(m.t, 1)
	a.run("init")
	a.serve()
	a.is(report.StateActive)
	m.backsUp(a)
	// Whoever reads this years later finds its backups.
	for _, kv := range [][2]string{{"retention", "36500d"}, {"frequency", "12h"}, {"stop_timeout", "5s"}, {"margin", "2s"}, {"ttl", "15s"}} {
		a.run("config", "set", kv[0], kv[1])
	}
	password := filepath.Join(m.dir, "password")
	if err := os.WriteFile(password, []byte("correct horse battery staple\n"), 0o600); err != nil {
		m.t.Fatal(err)
	}
	a.run("users", "add", "alice", "--password-file", password)
	a.run("users", "add", "bob", "--role", "viewer", "--password-file", password)
	a.run("webhooks", "add", "http://127.0.0.1:9/hook", "--kinds", "retention", "--levels", "alarm")
	a.run("instances", "add", "http://127.0.0.1:9/")
	b.run("join")
	b.serve()
	m.writes(a, 2)
	m.backsUp(a, b)
}

// promotes makes a switchover, and a failover after which a salvage backup is kept.
func (m *bucketMaker) promotes(a, b *host) {
	m.t.Helper()
	b.rehearses()
	b.run("promote", "--yes", "--reason", "maintenance")
	a.is(report.StateInSync)
	b.is(report.StateActive)
	m.app(b).live(m.t, []int{1, 2})
	m.writes(b, 3)
	m.backsUp(b, a)
	a.rehearses()
	m.writes(b, 4)
	b.killAgent()
	a.run("promote", "--failover", "--host-is-off", "--yes", "--reason", "host-b is down")
	a.is(report.StateActive)
	m.app(a).live(m.t, []int{1, 2, 3})
	m.backsUp(a)
	b.serve()
	b.is(report.StateInSync)
	m.lists(a, m.app(b)) // the salvage backup
	m.writes(a, 5)
	m.backsUp(a, b)
}

// changesKey has what is new signed by another key; what is old needs the old one.
func (m *bucketMaker) changesKey(a, b *host) {
	m.t.Helper()
	a.run("key", "add")
	again := func() {
		for _, h := range []*host{a, b} {
			h.stopAgent()
			h.serve()
		}
		b.is(report.StateInSync)
		a.is(report.StateActive)
	}
	again()
	ids := query[[]struct{ ID, State string }](a, "key", "show-id")
	b.eventually("both instances know the key", func() error {
		if r := a.try("key", "activate", ids[0].ID); r.code != 0 {
			return fmt.Errorf("%s", r.errout)
		}
		return nil
	})
	digest := func() any { return query[map[string]any](a, "config")["digest"] }
	before := digest()
	again()
	a.eventually("its data keys are wrapped by the new key", func() error {
		if digest() == before {
			return errors.New("not yet")
		}
		return nil
	})
	m.writes(a, 6)
	m.backsUp(a, b)
}

// writes adds a generation, after all that backs up the one before.
func (m *bucketMaker) writes(active *host, n int) {
	m.t.Helper()
	m.backsUp(active)
	m.app(active).write(m.t, n)
}

// backsUp makes a backup, waits for who is to have it, and writes down what is in
// every backup that is new.
func (m *bucketMaker) backsUp(active *host, standbys ...*host) {
	m.t.Helper()
	ref := query[backup.Ref](active, "backup", "--reason", "a test")
	for _, h := range standbys {
		h.caches(ref.ID)
	}
	m.lists(active, m.app(active))
}

// lists writes down that backups which are new have the state of an application.
func (m *bucketMaker) lists(h *host, of *everything) {
	m.t.Helper()
	for _, b := range query[[]control.BackupInfo](h, "backups") {
		if _, known := m.left.Content[b.ID]; !known {
			m.left.Content[b.ID], m.left.Backups[b.ID] = of.generations, b.Salvage
		}
	}
}

// describes writes down what is true of the bucket. No agent runs: one that starts as the
// active makes a backup.
func (m *bucketMaker) describes(h *host) {
	m.t.Helper()
	salvaged := 0
	for _, b := range query[[]control.BackupInfo](h, "backups") {
		if m.left.Content[b.ID] == nil {
			m.t.Fatalf("nothing is known of the backup %s", b.ID)
		}
		if b.Newest {
			m.left.Newest = b.ID
		}
		if b.Superseded {
			m.left.Superseded = append(m.left.Superseded, b.ID)
		}
		if b.Salvage {
			salvaged++
			sameGenerations(m.t, "the salvage backup", m.left.Content[b.ID], []int{1, 2, 3, 4})
		}
	}
	if salvaged != 1 {
		m.t.Fatalf("%d salvage backups", salvaged)
	}
	m.left.Log = query[[]control.ClusterEvent](h, "events", "--cluster")
}

// shared is what a host says of what instances share.
func shared(h *host) (users []api.User, webhooks, instances []string, config map[string]any) {
	h.t.Helper()
	for _, w := range query[[]api.Webhook](h, "webhooks") {
		webhooks = append(webhooks, w.URL)
	}
	for _, i := range query[[]report.InstanceStatus](h, "instances") {
		name := i.Name
		if name == "" {
			name = i.URL
		}
		instances = append(instances, name)
	}
	slices.Sort(instances)
	return query[[]api.User](h, "users"), webhooks, instances, query[map[string]any](h, "config")
}

// bucketReader is a new host that finds a bucket.
type bucketReader struct {
	*host
	app  *everything
	left leftBehind
}

// readsBucket reads, joins and takes over what makesBucket has left in a folder.
func readsBucket(t *testing.T, dir string) {
	t.Helper()
	c := newCluster(t, "file://"+filepath.Join(dir, "bucket"), nil)
	c.key = filepath.Join(dir, "key")
	pg := server.Postgres(t)
	execute(t, pg.DSN("postgres"), "CREATE DATABASE app")
	app := newEverything(t, filepath.Join(c.dir, "app"), pg, "app")
	r := &bucketReader{host: c.host("reader", app), app: app}
	text, err := os.ReadFile(filepath.Join(dir, "left.json"))
	if err == nil {
		err = json.Unmarshal(text, &r.left)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.lists()
	for id := range r.left.Content {
		r.restores(id)
	}
	r.run("join")
	r.serve()
	r.takesOver()
	r.knows()
}

// lists compares what is listed, without an agent.
func (r *bucketReader) lists() {
	r.t.Helper()
	seen := map[string]bool{}
	for _, b := range query[[]control.BackupInfo](r.host, "backups") {
		salvage, known := r.left.Backups[b.ID]
		seen[b.ID] = true
		if !known || salvage != b.Salvage || b.Newest != (b.ID == r.left.Newest) || b.Superseded != slices.Contains(r.left.Superseded, b.ID) || b.Damaged != "" || b.Unlinked {
			r.t.Errorf("listed: %+v", b)
		}
	}
	if len(seen) != len(r.left.Backups) || len(seen) < 6 {
		r.t.Errorf("%d backups are listed, and there were %d", len(seen), len(r.left.Backups))
	}
	now := query[[]control.ClusterEvent](r.host, "events", "--cluster")
	for _, was := range r.left.Log {
		if !slices.ContainsFunc(now, func(e control.ClusterEvent) bool { return sameEvent(e, was) }) {
			r.t.Errorf("the audit log lacks %+v", was)
		}
	}
}

// sameEvent compares all but the sentence for people.
func sameEvent(e, was control.ClusterEvent) bool {
	sameTime := e.Time.Equal(was.Time)
	e.Text, e.Time, was.Text, was.Time = "", time.Time{}, "", time.Time{}
	return sameTime && e == was
}

// restores reads every byte of a backup, restores it, and compares.
func (r *bucketReader) restores(id string) {
	r.t.Helper()
	r.run("verify", id, "--deep")
	dir := r.path("restored-" + id)
	r.run("restore", id, "--to", dir, "--strict")
	exported(r.t, dir, r.left.Content[id])
}

// knows compares what instances share.
func (r *bucketReader) knows() {
	r.t.Helper()
	users, webhooks, instances, config := shared(r.host)
	instances = slices.DeleteFunc(instances, func(name string) bool { return name == r.name })
	if !slices.Equal(users, r.left.Users) || !slices.Equal(webhooks, r.left.Webhooks) || !slices.Equal(instances, r.left.Instances) {
		r.t.Errorf("users %v, webhooks %v, instances %v; want %v, %v, %v", users, webhooks, instances, r.left.Users, r.left.Webhooks, r.left.Instances)
	}
	for key, was := range r.left.Config {
		if fmt.Sprint(config[key]) != fmt.Sprint(was) {
			r.t.Errorf("%s is %v, and was %v", key, config[key], was)
		}
	}
}

// takesOver promotes the host, and goes on in the bucket.
func (r *bucketReader) takesOver() {
	r.t.Helper()
	r.rehearses()
	r.run("promote", "--failover", "--host-is-off", "--yes", "--reason", "an upgrade")
	r.is(report.StateActive)
	r.app.live(r.t, r.left.Content[r.left.Newest])
	r.app.write(r.t, slices.Max(r.app.generations)+1)
	id := query[backup.Ref](r.host, "backup").ID
	r.left.Content[id] = r.app.generations
	r.restores(id)
}

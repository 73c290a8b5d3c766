package storetest

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/minio/minio-go/v7/pkg/lifecycle"

	"github.com/understudy-ha/understudy/blobstore"
)

// RunLifecycle checks the lifecycle rules of stores that speak S3, against a
// server that keeps what it is told. prepare makes an empty bucket, and returns
// how to open stores in it by their prefixes, which have no slash at their
// ends.
func RunLifecycle(t *testing.T, prepare func(t *testing.T) (S3Bucket, func(prefix string) blobstore.Store)) {
	tests := []struct {
		name string
		test func(*testing.T, *ruled)
	}{
		{"a bucket without rules has none", testNoRules},
		{"rules are kept as they were set", testRulesKept},
		{"rules of others stay as they are", testForeignRules},
		{"stores in one bucket keep apart", testNeighbourRules},
		{"a rule that is refused changes nothing", testRefusedRules},
		{"a rule with a date deletes on that day", testDateRule},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bucket, open := prepare(t)
			test.test(t, &ruled{bucket: bucket, open: open})
		})
	}
}

// ruled is a bucket with stores that set rules.
type ruled struct {
	bucket S3Bucket
	open   func(prefix string) blobstore.Store
}

// set sets a store's own rules.
func (r *ruled) set(t *testing.T, prefix string, own ...blobstore.Rule) {
	t.Helper()
	if err := r.open(prefix).(blobstore.Lifecycle).SetRules(t.Context(), own); err != nil {
		t.Fatalf("set rules of %q: %v", prefix, err)
	}
}

// want checks what rules a store sees, in any order. It looks at the names of
// others' rules only.
func (r *ruled) want(t *testing.T, prefix string, want ...blobstore.Rule) {
	t.Helper()
	got, err := r.open(prefix).(blobstore.Lifecycle).Rules(t.Context())
	if err != nil {
		t.Fatalf("read rules of %q: %v", prefix, err)
	}
	seen, wanted := make(map[blobstore.Rule]int), make(map[blobstore.Rule]int)
	for _, e := range got {
		if e.Own && e.Name == "" {
			t.Errorf("store %q: rule %+v has no name", prefix, e)
		}
		if e.Own {
			e.Name = ""
		}
		seen[e]++
	}
	for _, e := range want {
		wanted[e]++
	}
	if !maps.Equal(seen, wanted) {
		t.Errorf("store %q: rules\n got %+v\nwant %+v", prefix, got, want)
	}
}

func testNoRules(t *testing.T, r *ruled) {
	r.want(t, "cluster")
	r.set(t, "cluster") // none, where there are none
	r.want(t, "cluster")
}

func testRulesKept(t *testing.T, r *ruled) {
	for _, prefix := range []string{"cluster", "some/deep/prefix", ""} {
		r.set(t, prefix, blobstore.Rule{Prefix: "backups/", Days: 14}, blobstore.Rule{Prefix: "packs/", Days: 22},
			blobstore.Rule{Prefix: "a=b+c@d/", Days: 3, NoncurrentDays: 2}, blobstore.Rule{NoncurrentDays: 1})
		want := []blobstore.Rule{
			{Prefix: "backups/", Days: 14, Own: true}, {Prefix: "packs/", Days: 22, Own: true},
			{Prefix: "a=b+c@d/", Days: 3, NoncurrentDays: 2, Own: true}, {NoncurrentDays: 1, Own: true},
		}
		r.want(t, prefix, want...)
		// The second time replaces the first.
		r.set(t, prefix, blobstore.Rule{Prefix: "backups/", Days: 30})
		r.want(t, prefix, blobstore.Rule{Prefix: "backups/", Days: 30, Own: true})
		r.set(t, prefix)
		r.want(t, prefix)
		if left := r.bucket.Rules(t); len(left) > 0 {
			t.Errorf("rules left after all were removed: %v", left)
		}
	}
	// MinIO, for one, takes no rule about uploads.
	r.set(t, "cluster", blobstore.Rule{Prefix: "packs/", Days: 22}, blobstore.Rule{NoncurrentDays: 1, UploadDays: 1})
	rules, err := r.open("cluster").(blobstore.Lifecycle).Rules(t.Context())
	if err != nil || len(rules) != 2 || rules[0].Days != 22 || rules[1].NoncurrentDays != 1 || rules[1].UploadDays > 1 {
		t.Errorf("rules with one about uploads: %+v, %v", rules, err)
	}
}

func testForeignRules(t *testing.T, r *ruled) {
	rule := func(id string, days int, filter lifecycle.Filter) lifecycle.Rule {
		return lifecycle.Rule{ID: id, Status: "Enabled", RuleFilter: filter, Expiration: lifecycle.Expiration{Days: lifecycle.ExpirationDays(days)}}
	}
	disabled := rule("disabled", 2, lifecycle.Filter{Prefix: "cluster/"})
	disabled.Status = "Disabled"
	keeping := rule("keeping", 0, lifecycle.Filter{Prefix: "cluster/packs/"})
	keeping.NoncurrentVersionExpiration = lifecycle.NoncurrentVersionExpiration{NoncurrentDays: 4, NewerNoncurrentVersions: 5}
	dated := rule("dated", 0, lifecycle.Filter{Prefix: "cluster/backups/"})
	dated.Expiration.Date.Time = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	r.bucket.SetRules(t,
		rule("", 11, lifecycle.Filter{Prefix: "clus"}),
		rule("unrelated", 3, lifecycle.Filter{Prefix: "logs/"}),
		rule("neighbour", 3, lifecycle.Filter{Prefix: "cluster-2/"}),
		rule("whole bucket", 365, lifecycle.Filter{}),
		rule("tagged", 6, lifecycle.Filter{Tag: lifecycle.Tag{Key: "a<b", Value: "c&d"}}),
		rule("all of it", 7, lifecycle.Filter{And: lifecycle.And{
			Prefix: "cluster/packs/", Tags: []lifecycle.Tag{{Key: "k", Value: "v"}, {Key: "k2", Value: "v2"}}, ObjectSizeGreaterThan: 100, ObjectSizeLessThan: 1 << 40,
		}}),
		rule("large", 8, lifecycle.Filter{ObjectSizeGreaterThan: 1 << 30}),
		disabled, keeping, dated,
	)
	before := r.bucket.Rules(t)
	foreign := []blobstore.Rule{
		{Name: "whole bucket", Days: 365},
		{Name: "tagged", Days: 6, Narrowed: true},
		{Name: "all of it", Prefix: "packs/", Days: 7, Narrowed: true},
		{Name: "large", Days: 8, Narrowed: true},
		{Name: "keeping", Prefix: "packs/", NoncurrentDays: 4, Narrowed: true},
		{Name: "dated", Prefix: "backups/", Days: 1},
	}
	for id := range before { // the server gives a name to what has none
		if !slices.Contains([]string{"unrelated", "neighbour", "whole bucket", "tagged", "all of it", "large", "disabled", "keeping", "dated"}, id) {
			foreign = append(foreign, blobstore.Rule{Name: id, Days: 11})
		}
	}
	r.want(t, "cluster", foreign...)
	r.set(t, "cluster", blobstore.Rule{Prefix: "packs/", Days: 22})
	r.want(t, "cluster", append(foreign, blobstore.Rule{Prefix: "packs/", Days: 22, Own: true})...)
	if after := r.bucket.foreignRules(t); !maps.Equal(after, before) {
		t.Errorf("rules of others\n was %v\n are %v", before, after)
	}
	r.set(t, "cluster")
	if after := r.bucket.Rules(t); !maps.Equal(after, before) {
		t.Errorf("rules of others after own were removed\n was %v\n are %v", before, after)
	}
}

func testNeighbourRules(t *testing.T, r *ruled) {
	r.set(t, "a", blobstore.Rule{Prefix: "b/packs/", Days: 5})
	r.set(t, "a/b", blobstore.Rule{Prefix: "packs/", Days: 9})
	r.set(t, "c", blobstore.Rule{Prefix: "packs/", Days: 7})
	bucket := r.bucket.Rules(t)
	if len(bucket) != 3 {
		t.Fatalf("the bucket's rules are %v, want three", bucket)
	}
	var name string // of a's rule
	rules, err := r.open("a").(blobstore.Lifecycle).Rules(t.Context())
	if err != nil || len(rules) != 2 {
		t.Fatalf("rules of a: %+v, %v", rules, err)
	}
	for _, rule := range rules {
		if rule.Own != (rule.Days == 5) {
			t.Errorf("store a: rule %+v", rule)
		}
		if rule.Own {
			name = rule.Name
		}
	}
	r.want(t, "a/b", blobstore.Rule{Name: name, Prefix: "packs/", Days: 5}, blobstore.Rule{Prefix: "packs/", Days: 9, Own: true})
	r.set(t, "a/b")
	r.want(t, "a", blobstore.Rule{Prefix: "b/packs/", Days: 5, Own: true})
	r.want(t, "c", blobstore.Rule{Prefix: "packs/", Days: 7, Own: true})
}

func testRefusedRules(t *testing.T, r *ruled) {
	r.set(t, "cluster", blobstore.Rule{Prefix: "packs/", Days: 7})
	for _, bad := range []blobstore.Rule{{Prefix: "../", Days: 1}, {Days: -1}, {NoncurrentDays: -1}, {UploadDays: -1}} {
		err := r.open("cluster").(blobstore.Lifecycle).SetRules(t.Context(), []blobstore.Rule{{Prefix: "packs/", Days: 9}, bad})
		wantKind(t, "set rules", err, blobstore.ErrInvalid)
	}
	r.want(t, "cluster", blobstore.Rule{Prefix: "packs/", Days: 7, Own: true})
}

// testDateRule lets the server delete for real: the one rule that does so
// without waiting for a day.
func testDateRule(t *testing.T, r *ruled) {
	s := r.open("cluster")
	for _, key := range []string{"backups/b", "packs/p"} {
		put(t, s, key, "x")
	}
	today := time.Now().UTC().Truncate(day)
	r.bucket.SetRules(t, lifecycle.Rule{ID: "today", Status: "Enabled", RuleFilter: lifecycle.Filter{Prefix: "cluster/backups/"},
		Expiration: lifecycle.Expiration{Date: lifecycle.ExpirationDate{Time: today}}})
	r.want(t, "cluster", blobstore.Rule{Name: "today", Prefix: "backups/", Days: 1})
	_, err := s.Stat(t.Context(), "backups/b")
	WantKind(t, "stat what has expired", err, blobstore.ErrNotFound)
	wantKeys(t, "what is left", list(t, s, "", ""), []string{"packs/p"})
	if _, err := s.Put(t.Context(), "packs/p", []byte("y"), blobstore.IfAbsent()); err == nil {
		t.Error("created what is there")
	}
}

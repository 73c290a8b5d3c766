package main

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/retention"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/cmd/understudy/buckets"
	"github.com/understudy-ha/understudy/cmd/understudy/doctor"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/report"
	"github.com/understudy-ha/understudy/ha/upkeep"
)

// memories are the stores with rules that tests open as memory://name.
var memories sync.Map

var _ = func() bool {
	buckets.Providers["memory"] = func(_ context.Context, u *url.URL) (blobstore.Store, error) {
		m, _ := memories.LoadOrStore(u.Host, storetest.NewMemory())
		return m.(blobstore.Store), nil
	}
	return true
}()

// ruledHost is a host whose bucket deletes by rules.
func ruledHost(t *testing.T) (*testHost, *storetest.Memory) {
	t.Helper()
	h, m := newTestHosts(t, "host-a")[0], storetest.NewMemory()
	name := strings.ToLower(t.Name())
	memories.Store(name, m)
	t.Cleanup(func() { memories.Delete(name) })
	h.env["UNDERSTUDY_BUCKET"] = "memory://" + name
	return h, m
}

func TestInitGivesTheBucketItsRules(t *testing.T) {
	h, m := ruledHost(t)
	if made := ask[memberJSON](h, "init"); made.ExpiryBy != upkeep.AppliedByBucket {
		t.Errorf("init: %+v", made)
	}
	v := ask[lifecycleJSON](h, "lifecycle", "show")
	if !v.Supported || v.AppliedBy != upkeep.AppliedByBucket || v.Effective != v.Configured || len(v.Rules) != 11 {
		t.Errorf("lifecycle show: %+v", v)
	}
	for _, r := range v.Rules {
		if r.Verdict != retention.RuleKept {
			t.Errorf("rule %+v", r)
		}
	}

	m.AddRule(blobstore.Rule{Name: "tidy", Days: 10})
	v = ask[lifecycleJSON](h, "lifecycle", "apply")
	if !slices.ContainsFunc(v.Rules, func(r ruleJSON) bool { return r.Name == "tidy" && r.Verdict == retention.RuleForeign && !r.Own }) {
		t.Errorf("a rule that is not understudy's must stay: %+v", v.Rules)
	}
	if len(v.Problems) == 0 || v.Effective.Retention != ha.Duration(8*24*time.Hour) {
		t.Errorf("a rule of 10 days: %+v", v)
	}
	if out := h.run("lifecycle", "show"); !strings.Contains(out, "restorable for 8 days instead of 14 days") || !strings.Contains(out, `"tidy"`) {
		t.Errorf("lifecycle show: %s", out)
	}
}

func TestAppliedRulesFollowTheConfiguration(t *testing.T) {
	h, _ := ruledHost(t)
	h.run("init")
	h.serve()
	h.until("leads", func() bool { return ask[report.Status](h, "status").Leading })
	ask[report.SharedConfig](h, "config", "set", "retention", "30d")
	if v := ask[lifecycleJSON](h, "lifecycle", "show"); v.Effective.Retention != ha.Duration(14*24*time.Hour) {
		t.Errorf("the rules are shorter still: %+v", v)
	}
	v := ask[lifecycleJSON](h, "lifecycle", "apply")
	if v.Effective != v.Configured || v.Rules[0].Days != 30 || v.Rules[2].Days != 38 {
		t.Errorf("applied: %+v", v)
	}
	ask[report.SharedConfig](h, "config", "set", "reuse_window", "1d")
	v = ask[lifecycleJSON](h, "lifecycle", "apply")
	if v.LongerPacksUntil == nil || v.Rules[2].Days != 38 || time.Until(*v.LongerPacksUntil) < 30*24*time.Hour {
		t.Errorf("older backups need the packs still: %+v", v)
	}
	if out := h.run("lifecycle", "show"); !strings.Contains(out, "kept for longer until") {
		t.Errorf("lifecycle show: %s", out)
	}
}

// An earlier version of Understudy forgot what was overwritten after a day,
// wherever in the prefix.
func TestRulesOfAnEarlierVersionAreNamedAndReplaced(t *testing.T) {
	h, m := ruledHost(t)
	h.run("init")
	old := []blobstore.Rule{{Prefix: "backups/", Days: 14}, {Prefix: "salvage/", Days: 14}, {Prefix: "packs/", Days: 22}, {NoncurrentDays: 1, UploadDays: 1}}
	if err := m.SetRules(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	if out := h.run("lifecycle", "show"); !strings.Contains(out, "deletes earlier versions") || !strings.Contains(out, "not wanted any more") {
		t.Errorf("lifecycle show: %s", out)
	}
	h.serve()
	h.until("warns of the rule", func() bool {
		s := ask[report.Status](h, "status")
		return s.Retention != nil && len(s.Retention.ShortVersions) == 1
	})
	v := ask[lifecycleJSON](h, "lifecycle", "apply")
	if len(v.Problems) > 0 || slices.ContainsFunc(v.Rules, func(r ruleJSON) bool { return r.Prefix == "" || r.Verdict != retention.RuleKept }) {
		t.Errorf("lifecycle apply: %+v", v)
	}
}

func TestRulesThatAreForgottenAreABucketProblem(t *testing.T) {
	h, m := ruledHost(t)
	m.ForgetRules = true
	_, stderr, code := understudy(t, h.env, "init")
	if code != exit.Done || !strings.Contains(stderr, "DELETES NOTHING BY ITSELF") {
		t.Errorf("init: exit %d: %s", code, stderr)
	}
	h.fails(exit.Bucket, "does not have them", "lifecycle", "apply")
	if v := ask[lifecycleJSON](h, "lifecycle", "show"); v.AppliedBy != upkeep.AppliedByAgent || v.Rules[0].Verdict != retention.RuleMissing {
		t.Errorf("lifecycle show: %+v", v)
	}
}

func TestAStoreWithoutRulesNeedsNone(t *testing.T) {
	h := newTestHosts(t, "host-a")[0]
	_, stderr, code := understudy(t, h.env, "init")
	if code != exit.Done || !strings.Contains(stderr, "the active does it, backups after 14 days, their packs after 22 days") {
		t.Errorf("init: exit %d: %s", code, stderr)
	}
	for _, command := range []string{"show", "apply"} {
		if out := h.run("lifecycle", command); !strings.Contains(out, "the active deletes what") {
			t.Errorf("lifecycle %s: %s", command, out)
		}
	}
}

// A store without rules is nothing to warn of, at no turn.
func TestAStoreWithoutRulesIsOneWhereTheActiveDeletes(t *testing.T) {
	h, m := ruledHost(t)
	m.NoRules = true
	if made := ask[memberJSON](h, "init"); made.ExpiryBy != upkeep.AppliedByAgent {
		t.Errorf("init: %+v", made)
	}
	for _, command := range []string{"show", "apply"} {
		if v := ask[lifecycleJSON](h, "lifecycle", command); v.Supported || v.AppliedBy != upkeep.AppliedByAgent || len(v.Problems) > 0 {
			t.Errorf("lifecycle %s: %+v", command, v)
		}
	}
	found := slices.DeleteFunc(ask[[]doctor.Finding](h, "doctor"), func(f doctor.Finding) bool { return f.Name != "lifecycle" })
	if len(found) != 1 || found[0].Result != doctor.Good {
		t.Errorf("doctor: %+v", found)
	}
}

// A default retention of the bucket that is shorter or longer than what backups are
// locked for is told by doctor.
func TestDoctorComparesTheDefaultRetention(t *testing.T) {
	h, m := ruledHost(t)
	m.Versioned, m.Locking = true, blobstore.Compliance
	h.run("init")
	const day = 24 * time.Hour
	for length, want := range map[time.Duration]string{
		0: "", 3 * day: "shorter than backups live", 14 * day: "locks whatever is written", 22 * day: "locks whatever is written", 90 * day: "longer than anything of a backup lives",
	} {
		m.LockedFor = length
		var got []doctor.Finding
		out, stderr, _ := understudy(t, h.env, "doctor", "--json")
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			t.Fatalf("%v: %s%s", err, out, stderr)
		}
		i := slices.IndexFunc(got, func(f doctor.Finding) bool { return f.Name == "default lock" })
		switch inside := length == 14*day || length == 22*day; {
		case want == "" && i >= 0, want != "" && i < 0:
			t.Errorf("%v: %+v", length, got)
		case want == "":
		case !strings.Contains(got[i].Detail, want), (got[i].Result == doctor.Good) != inside, !strings.Contains(got[i].Detail, "packs for 22 days"):
			t.Errorf("%v: %+v", length, got[i])
		}
	}
}

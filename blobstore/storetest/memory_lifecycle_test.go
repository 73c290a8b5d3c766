package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
)

func TestMemoryExpiresByItsRulesAlone(t *testing.T) {
	start := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	clock := start
	m := &Memory{Now: func() time.Time { return clock }}
	m.AddRule(blobstore.Rule{Name: "foreign", Prefix: "logs/", Days: 1})
	m.AddRule(blobstore.Rule{Name: "tagged", Days: 1, Narrowed: true})
	for range 2 { // the second time replaces the first
		own := []blobstore.Rule{{Prefix: "backups/", Days: 14}, {Prefix: "packs/", Days: 22}, {NoncurrentDays: 1, UploadDays: 1}}
		if err := m.SetRules(t.Context(), own); err != nil {
			t.Fatal(err)
		}
	}
	rules, err := m.Rules(t.Context())
	if err != nil || len(rules) != 5 || rules[0].Own || rules[1].Own || !rules[2].Own {
		t.Fatalf("rules %+v, %v; want two foreign ones and three own", rules, err)
	}
	for _, key := range []string{"head.json", "backups/a", "packs/old", "logs/x"} {
		put(t, m, key, "x")
	}
	clock = start.Add(13 * day)
	put(t, m, "packs/young", "x")
	put(t, m, "packs/old", "x") // the same bytes again: its age starts anew
	steps := []struct {
		after time.Duration
		want  []string
	}{
		{day - 1, nil},
		{day, []string{"logs/x"}},
		{14*day - 1, nil},
		{14 * day, []string{"backups/a"}},
		{35*day - 1, nil},
		{35 * day, []string{"packs/old", "packs/young"}},
		{1000 * day, nil},
	}
	for _, step := range steps {
		if got := m.Expire(start.Add(step.after)); !slices.Equal(got, step.want) {
			t.Errorf("after %s: expired %q, want %q", step.after, got, step.want)
		}
	}
	wantKeys(t, "what stays", m.Keys(), []string{"head.json"})
}

func TestMemoryCanForgetItsRules(t *testing.T) {
	m := &Memory{ForgetRules: true}
	if err := m.SetRules(t.Context(), []blobstore.Rule{{Days: 1}}); err != nil {
		t.Fatal(err)
	}
	if rules, err := m.Rules(t.Context()); err != nil || len(rules) > 0 {
		t.Errorf("rules %+v, %v; want none", rules, err)
	}
}

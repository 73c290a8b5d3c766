package retention

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/blobstore"
)

func TestRulesAreWholeDaysRoundedUp(t *testing.T) {
	rules := Policy{Keep: 36 * time.Hour, Reuse: time.Hour}.Rules("head.json", "config/")
	want := []blobstore.Rule{
		{Name: "understudy backups", Prefix: "backups/", Days: 2, NoncurrentDays: 3, UploadDays: 1},
		{Name: "understudy salvage", Prefix: "salvage/", Days: 2, NoncurrentDays: 3, UploadDays: 1},
		{Name: "understudy packs", Prefix: "packs/", Days: 3, NoncurrentDays: 3, UploadDays: 1},
		{Name: "understudy streams", Prefix: "streams/", Days: 7, NoncurrentDays: 7, UploadDays: 1},
		{Name: "understudy head.json", Prefix: "head.json", NoncurrentDays: 2},
		{Name: "understudy config", Prefix: "config/", NoncurrentDays: 2},
	}
	if diff := cmp.Diff(want, rules); diff != "" {
		t.Error(diff)
	}
	if packs := (Policy{}).Rules()[2]; packs.Days != 22 {
		t.Errorf("by default packs expire after %d days, want 14+7+1", packs.Days)
	}
}

func TestRulesInForceBoundWhatIsPromised(t *testing.T) {
	own := Policy{}.Rules()
	foreign := func(prefix string, days int) []blobstore.Rule {
		return append([]blobstore.Rule{{Name: "tidy", Prefix: prefix, Days: days}}, own...)
	}
	all := []string{"backups/", "salvage/", "packs/", "streams/"}
	tests := map[string]struct {
		wanted      Policy
		rules       []blobstore.Rule
		keep, reuse time.Duration
		left        []string
		problems    int
	}{
		"no rules":                       {keep: 14 * day, reuse: 7 * day, left: all},
		"own rules":                      {rules: own, keep: 14 * day, reuse: 7 * day},
		"longer rules":                   {wanted: Policy{Keep: 3 * day, Reuse: day}, rules: own, keep: 3 * day, reuse: day},
		"W grew, rules did not":          {wanted: Policy{Reuse: 20 * day}, rules: own, keep: 14 * day, reuse: 7 * day, problems: 1},
		"R grew, rules did not":          {wanted: Policy{Keep: 30 * day}, rules: own, keep: 14 * day, reuse: 7 * day, problems: 3},
		"a longer rule for the bucket":   {rules: foreign("", 40), keep: 14 * day, reuse: 7 * day},
		"one that is a bit short":        {rules: foreign("", 20), keep: 14 * day, reuse: 5 * day, problems: 1},
		"one that is short":              {rules: foreign("", 10), keep: 8 * day, reuse: day, problems: 3},
		"one that is very short":         {rules: foreign("", 2), keep: 12 * time.Hour, reuse: 12 * time.Hour, problems: 4},
		"one that leaves no room":        {rules: foreign("", 1), keep: 12 * time.Hour, reuse: NoReuse, problems: 4},
		"one for some packs":             {rules: foreign("packs/00", 18), keep: 14 * day, reuse: 3 * day, problems: 1},
		"one for parts of streams":       {rules: foreign("streams/db", 6), keep: 14 * day, reuse: 7 * day, problems: 1},
		"one for other keys":             {rules: foreign("logs/", 1), keep: 14 * day, reuse: 7 * day},
		"a narrowed one may delete":      {rules: []blobstore.Rule{{Prefix: "packs/", Days: 18, Narrowed: true}}, keep: 14 * day, reuse: 3 * day, left: all, problems: 1},
		"one for manifests alone":        {rules: foreign("backups/", 5), keep: 5 * day, reuse: 7 * day, problems: 1},
		"no reuse was wanted":            {wanted: Policy{Reuse: NoReuse}, rules: foreign("", 10), keep: 9 * day, reuse: NoReuse, problems: 3},
		"versions and uploads count not": {rules: []blobstore.Rule{{NoncurrentDays: 1, UploadDays: 1}}, keep: 14 * day, reuse: 7 * day, left: all},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := tt.wanted.Under(tt.rules)
			if want := (Policy{Keep: tt.keep, Reuse: tt.reuse}); s.Effective != want {
				t.Errorf("effective %v, want %v", s.Effective, want)
			}
			if diff := cmp.Diff(tt.left, s.Left); diff != "" {
				t.Errorf("left to the agent: %s", diff)
			}
			if len(s.Problems) != tt.problems {
				t.Errorf("problems %q, want %d", s.Problems, tt.problems)
			}
			again := s.Effective.Under(tt.rules).Effective
			if again != s.Effective {
				t.Errorf("%v comes to %v under the same rules", s.Effective, again)
			}
		})
	}
}

func TestPacksKeepTheirLongerRuleUntilOlderBackupsHaveExpired(t *testing.T) {
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	ended := func(ago, reuse time.Duration) Period {
		return Period{Policy: Policy{Reuse: reuse}, Until: now.Add(-ago)}
	}
	configured := Policy{Keep: 10 * day, Reuse: 2 * day}
	tests := map[string]struct {
		earlier []Period
		reuse   time.Duration
		until   time.Time
	}{
		"nothing before":       {nil, 2 * day, time.Time{}},
		"W shrank lately":      {[]Period{ended(3*day, 7*day)}, 7 * day, now.Add(8 * day)},
		"W shrank twice":       {[]Period{ended(3*day, 5*day), ended(9*day, 7*day)}, 7 * day, now.Add(8 * day)},
		"W shrank long ago":    {[]Period{ended(11*day, 7*day)}, 2 * day, time.Time{}},
		"W grew":               {[]Period{ended(day, day)}, 2 * day, time.Time{}},
		"it is the same still": {[]Period{{Policy: Policy{Reuse: 7 * day}}}, 2 * day, time.Time{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r, until := Promised(configured, tt.earlier, now)
			if want := (Policy{Keep: 10 * day, Reuse: tt.reuse}); r != want || !until.Equal(tt.until) {
				t.Errorf("%v until %v, want %v until %v", r, until, want, tt.until)
			}
		})
	}
}

func TestComparisonNamesEveryRule(t *testing.T) {
	wanted := Policy{}.Rules("head.json", "lease.json")
	own := func(prefix string, days int) blobstore.Rule {
		return blobstore.Rule{Prefix: prefix, Days: days, Own: true}
	}
	inForce := []blobstore.Rule{
		{Prefix: "backups/", Days: 14, NoncurrentDays: 22, UploadDays: 1, Own: true}, own("packs/", 10), own("old/", 3),
		{Name: "tidy", Days: 90}, {Prefix: "head.json", NoncurrentDays: 1}, {Name: "by hand", Prefix: "salvage/", Days: 30},
	}
	var got []Verdict
	for _, c := range Compare(wanted, inForce) {
		got = append(got, c.Verdict)
	}
	want := []Verdict{RuleKept, RuleLonger, RuleShorter, RuleMissing, RuleShorter, RuleLeftOut, RuleStale, RuleForeign, RuleForeign, RuleForeign}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if !Lost(wanted, nil) || !Lost(wanted, inForce) || Lost(wanted, wanted) || Lost(wanted, wanted[:4]) {
		t.Error("rules are lost when one that deletes current blobs is not as it was set, and only then")
	}
}

// An earlier version of Understudy gave every prefix a rule that deleted earlier
// versions after a day, those of packs and of the head too.
func TestRulesThatForgetEarlierVersionsAreNamed(t *testing.T) {
	control := []string{"head.json", "config/"}
	whole := func(days int, own bool) blobstore.Rule { return blobstore.Rule{NoncurrentDays: days, Own: own} }
	for name, tt := range map[string]struct {
		rules []blobstore.Rule
		want  []string // in the one problem
	}{
		"wanted":            {rules: Policy{}.Rules(control...)},
		"longer":            {rules: []blobstore.Rule{whole(22, false)}},
		"current blobs":     {rules: []blobstore.Rule{{Days: 1}}},
		"elsewhere":         {rules: []blobstore.Rule{{Prefix: "logs/", NoncurrentDays: 1}}},
		"an older version":  {[]blobstore.Rule{whole(1, true)}, []string{"packs/, streams/, head.json, config/", "1 days instead of 22", "lifecycle apply"}},
		"somebody else's":   {[]blobstore.Rule{whole(1, false)}, []string{"it is not understudy's"}},
		"short for data":    {[]blobstore.Rule{whole(14, false)}, []string{"(backups/, salvage/, packs/)", "14 days instead of 22"}},
		"some packs":        {[]blobstore.Rule{{Prefix: "packs/00", NoncurrentDays: 21}}, []string{"(packs/)"}},
		"some tagged blobs": {[]blobstore.Rule{{NoncurrentDays: 13, Narrowed: true}}, []string{"head.json"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := Policy{}.ShortVersions(tt.rules, control...)
			if len(got) > 1 || (len(got) > 0) != (tt.want != nil) {
				t.Fatalf("problems %q, want %q", got, tt.want)
			}
			for _, words := range tt.want {
				if !strings.Contains(got[0], words) {
					t.Errorf("problem %q, want it to say %q", got[0], words)
				}
			}
		})
	}
}

// No rule is about more than what Understudy writes, wherever its bucket begins.
func TestNoRuleIsForAWholeBucket(t *testing.T) {
	for _, rule := range (Policy{}).Rules("head.json") {
		if rule.Prefix == "" {
			t.Errorf("rule %+v is for everything in the bucket", rule)
		}
	}
}

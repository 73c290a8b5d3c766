package doctor

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/retention"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/ha/control"
)

func TestDoctorWarnsOfRulesThatWouldDeleteTooMuch(t *testing.T) {
	m := storetest.NewMemory()
	results := func() (warned []string) {
		for _, f := range lifecycleFindings(t.Context(), m, nil) {
			if f.Result == Warning {
				warned = append(warned, f.Detail)
			}
		}
		return warned
	}
	m.AddRule(blobstore.Rule{Prefix: "logs/", Days: 1})
	m.AddRule(blobstore.Rule{NoncurrentDays: 1, UploadDays: 1})
	if got := results(); len(got) != 0 {
		t.Errorf("warnings %q about harmless rules", got)
	}
	m.AddRule(blobstore.Rule{Name: "tidy", Prefix: "config/", Days: 30})
	if got := results(); len(got) != 1 || !strings.Contains(got[0], `"tidy"`) || !strings.Contains(got[0], "30 days") || strings.Contains(got[0], "head.json") {
		t.Errorf("warnings %q, want one that names the rule, its days and what it deletes", got)
	}

	promise := control.Promise{Configured: retention.Policy{}, Rules: retention.Policy{}}
	tests := map[string]struct {
		rules []blobstore.Rule
		want  Result
		words string
	}{
		"no rules":  {nil, Warning, "understudy lifecycle apply"},
		"as wanted": {control.Rules(promise.Rules), Good, "packs after 22 days"},
		"too short": {append(control.Rules(promise.Rules), blobstore.Rule{Name: "tidy", Prefix: "packs/", Days: 9}), Warning, "9 days instead of 22"},
		"too long":  {control.Rules(retention.Policy{Keep: 90 * 24 * time.Hour}), Warning, "90 days instead of 14"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			found := ruleFindings(promise, tt.rules)
			if !slices.ContainsFunc(found, func(f Finding) bool { return f.Result == tt.want && strings.Contains(f.Detail, tt.words) }) {
				t.Errorf("findings %+v, want %s with %q", found, tt.want, tt.words)
			}
		})
	}
}

package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/understudy-ha/understudy/backup/retention"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/cmd/understudy/terminal"
	"github.com/understudy-ha/understudy/ha/control"
)

// lifecycleFindings compares the rules by which the bucket deletes with those
// that the cluster wants, and names every rule that would delete control
// objects or backups that are still needed. lifecycle is nil where the store
// has none; bucket is nil while there is no cluster, or no key.
func lifecycleFindings(ctx context.Context, lifecycle blobstore.Lifecycle, bucket *control.Store) []Finding {
	const name = "lifecycle"
	var inForce []blobstore.Rule
	err := blobstore.ErrNoRules
	if lifecycle != nil {
		inForce, err = lifecycle.Rules(ctx)
	}
	switch {
	case errors.Is(err, blobstore.ErrNoRules):
		return []Finding{{Name: name, Result: Good, Detail: "the store has no rules that can be read here: the active deletes what has expired"}}
	case err != nil:
		return []Finding{{Name: name, Result: Warning, Detail: fmt.Sprintf("the bucket's rules cannot be read, so that nothing warns of one that deletes too soon: %v", err)}}
	}
	var found []Finding
	for _, threat := range control.Threats(inForce) {
		found = append(found, Finding{Name: name, Result: Warning, Detail: threat})
	}
	if bucket == nil {
		return append(found, Finding{Name: name, Result: Good, Detail: fmt.Sprintf("the bucket has %d rules that touch this prefix", len(inForce))})
	}
	promise, err := bucket.Promise(ctx)
	if err != nil {
		return append(found, Finding{Name: name, Result: Warning, Detail: fmt.Sprintf("which rules are wanted cannot be found out: %v", err)})
	}
	return append(found, ruleFindings(promise, inForce)...)
}

// ruleFindings says how the rules in force compare with those that are wanted.
func ruleFindings(p control.Promise, inForce []blobstore.Rule) []Finding {
	const name = "lifecycle"
	standing := p.Configured.Under(inForce)
	var found []Finding
	for _, problem := range slices.Concat(standing.Problems, control.ShortVersions(p.Configured, inForce)) {
		found = append(found, Finding{Name: name, Result: Warning, Detail: problem})
	}
	for _, c := range retention.Compare(control.Rules(p.Rules), inForce) {
		if c.Verdict == retention.RuleLonger && c.Wanted.Days > 0 {
			found = append(found, Finding{Name: name, Result: Warning, Detail: fmt.Sprintf(
				"%s stays for %d days instead of %d: understudy lifecycle apply", c.Wanted.Prefix, c.InForce.Days, c.Wanted.Days)})
		}
	}
	switch {
	case !standing.ByBucket():
		found = append(found, Finding{Name: name, Result: Warning, Detail: "the bucket does not have all rules, and the active deletes what they leave: understudy lifecycle apply"})
	case len(found) == 0:
		found = append(found, Finding{Name: name, Result: Good, Detail: fmt.Sprintf("the bucket deletes backups after %s, packs after %s",
			terminal.Days(p.Rules.ManifestLife()), terminal.Days(p.Rules.PackLife()))})
	}
	return found
}

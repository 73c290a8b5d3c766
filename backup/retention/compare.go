package retention

import "github.com/understudy-ha/understudy/blobstore"

// Verdict is how a rule in force compares with the one that is wanted.
type Verdict string

// Verdicts.
const (
	RuleKept    Verdict = "ok"
	RuleMissing Verdict = "missing"
	RuleShorter Verdict = "too short"
	RuleLonger  Verdict = "longer than wanted"
	RuleLeftOut Verdict = "as far as the store takes it" // versions or uploads are missing; harmless
	RuleStale   Verdict = "not wanted any more"
	RuleForeign Verdict = "not understudy's"
)

// Comparison is one line of a comparison of rules. Either side may be zero.
type Comparison struct {
	Wanted  blobstore.Rule
	InForce blobstore.Rule
	Verdict Verdict
}

// Compare puts the rules that are wanted beside those that a bucket has, and
// then the bucket's others. A rule of the same prefix does, whoever made it.
func Compare(wanted, inForce []blobstore.Rule) []Comparison {
	var all []Comparison
	prefixes := make(map[string]bool)
	for _, w := range wanted {
		prefixes[w.Prefix] = true
		have := matching(w, inForce)
		all = append(all, Comparison{Wanted: w, InForce: have, Verdict: verdict(w, have)})
	}
	for _, rule := range inForce {
		switch {
		case !rule.Own:
			all = append(all, Comparison{InForce: rule, Verdict: RuleForeign})
		case !prefixes[rule.Prefix]:
			all = append(all, Comparison{InForce: rule, Verdict: RuleStale})
		}
	}
	return all
}

// Lost reports whether a bucket that has just been given the wanted rules does
// not have one of those that delete current blobs.
func Lost(wanted, inForce []blobstore.Rule) bool {
	for _, w := range wanted {
		found := w.Days == 0
		for _, rule := range inForce {
			found = found || rule.Prefix == w.Prefix && rule.Days == w.Days && !rule.Narrowed
		}
		if !found {
			return true
		}
	}
	return false
}

// matching puts together what rules of the same prefix do, as far as that is
// what the wanted one is about.
func matching(wanted blobstore.Rule, inForce []blobstore.Rule) blobstore.Rule {
	have := blobstore.Rule{Prefix: wanted.Prefix}
	sooner := func(into *int, days, of int) {
		if of > 0 && days > 0 && (*into == 0 || days < *into) {
			*into = days
		}
	}
	for _, rule := range inForce {
		if rule.Prefix != wanted.Prefix || rule.Narrowed {
			continue
		}
		if rule.Own || have.Name == "" {
			have.Name, have.Own = rule.Name, rule.Own
		}
		sooner(&have.Days, rule.Days, wanted.Days)
		sooner(&have.NoncurrentDays, rule.NoncurrentDays, wanted.NoncurrentDays)
		sooner(&have.UploadDays, rule.UploadDays, wanted.UploadDays)
	}
	return have
}

func verdict(wanted, have blobstore.Rule) Verdict {
	switch {
	case wanted.Days > 0 && have.Days == 0:
		return RuleMissing
	case have.Days < wanted.Days, have.NoncurrentDays > 0 && have.NoncurrentDays < wanted.NoncurrentDays:
		return RuleShorter
	case have.Days > wanted.Days:
		return RuleLonger
	case have.NoncurrentDays < wanted.NoncurrentDays || have.UploadDays < wanted.UploadDays:
		return RuleLeftOut
	case have.NoncurrentDays > wanted.NoncurrentDays || have.UploadDays > wanted.UploadDays:
		return RuleLonger
	}
	return RuleKept
}

package retention

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/backup/stream"
	"github.com/understudy-ha/understudy/blobstore"
)

// Folders of the bucket, by what the keys of their objects begin with.
const (
	Backups = "backups/" // manifests
	Salvage = "salvage/" // manifests of salvage backups
	Packs   = "packs/"   // see pack.Digest.Key
	Streams = stream.Folder
)

// Folders are what expires in a bucket, in the order in which it is deleted: a
// manifest goes before the packs that it refers to.
var Folders = []string{Backups, Salvage, Packs, Streams}

// uploadDays is the age in days at which uploads go that were never completed.
const uploadDays = 1

// Life is the age at which what lies in one of the Folders expires.
func (p Policy) Life(folder string) time.Duration {
	switch folder {
	case Packs:
		return p.PackLife()
	case Streams:
		return stream.Life
	}
	return p.ManifestLife()
}

// VersionLife is how long a version stays that was overwritten or deleted, in a
// bucket that keeps versions: one of the Folders' as long as a pack, so that every
// backup that is restorable can be had back as it was; a part of a stream as long as
// the part; a control object as long as a backup.
func (p Policy) VersionLife(prefix string) time.Duration {
	switch {
	case prefix == Streams:
		return stream.Life
	case slices.Contains(Folders, prefix):
		return p.PackLife()
	}
	return p.ManifestLife()
}

// Rules are the rules that the retention wants its bucket to have: whole days,
// rounded up. control are the keys, and the beginnings of keys, of control
// objects, of which only earlier versions expire. No rule is for more than what
// the store itself writes.
func (p Policy) Rules(control ...string) []blobstore.Rule {
	rules := make([]blobstore.Rule, 0, len(Folders)+len(control))
	for _, folder := range Folders {
		rules = append(rules, blobstore.Rule{
			Name: ruleName(folder), Prefix: folder, Days: wholeDays(p.Life(folder)),
			NoncurrentDays: wholeDays(p.VersionLife(folder)), UploadDays: uploadDays,
		})
	}
	for _, key := range control {
		rules = append(rules, blobstore.Rule{
			Name: ruleName(key), Prefix: key, NoncurrentDays: wholeDays(p.VersionLife(key)),
		})
	}
	return rules
}

func ruleName(prefix string) string { return "understudy " + strings.TrimSuffix(prefix, "/") }

// ShortVersions says of each rule that deletes earlier versions sooner than
// Rules would, one sentence each, what is lost by that, and what to do.
func (p Policy) ShortVersions(rules []blobstore.Rule, control ...string) []string {
	var all []string
	for _, rule := range rules {
		var short []string
		wanted := 0
		for _, w := range p.Rules(control...) {
			if rule.NoncurrentDays > 0 && rule.NoncurrentDays < w.NoncurrentDays && overlaps(rule.Prefix, w.Prefix) {
				short, wanted = append(short, w.Prefix), max(wanted, w.NoncurrentDays)
			}
		}
		if len(short) > 0 {
			all = append(all, fmt.Sprintf("%s deletes earlier versions (%s) after %d days instead of %d, and what somebody overwrote or deleted could not be read back: %s",
				RuleName(rule), strings.Join(short, ", "), rule.NoncurrentDays, wanted, remedy(rule)))
		}
	}
	return all
}

func wholeDays(d time.Duration) int { return int((d + day - 1) / day) }

// Effect is what a retention comes to in a bucket with rules of its own.
type Effect struct {
	Wanted Policy // as configured
	// Effective is what backups are to be made and shown by: never more than
	// wanted, and less where the rules delete sooner.
	Effective Policy
	// Left are those of the Folders that no rule empties, so that somebody else
	// has to.
	Left []string
	// Problems say, one sentence each, which rule makes Effective less than
	// Wanted, and what to do.
	Problems []string
}

// ByBucket reports whether the bucket deletes all by itself.
func (s Effect) ByBucket() bool { return len(s.Left) == 0 }

// Under judges the retention by the rules in force in the bucket, whoever made
// them. The shortest that touches a folder counts, because it may delete
// there; for the bucket to do all deletion a rule has to be about the whole
// folder.
func (p Policy) Under(rules []blobstore.Rule) Effect {
	s := Effect{Wanted: p.explicit()}
	soonest := make(map[string]blobstore.Rule)
	for _, folder := range Folders {
		rule, found := shortest(rules, folder)
		if found {
			soonest[folder] = rule
		}
		if !emptied(rules, folder) {
			s.Left = append(s.Left, folder)
		}
		if found && rule.Days < wholeDays(s.Wanted.Life(folder)) {
			s.Problems = append(s.Problems, fmt.Sprintf(
				"%s deletes %s after %d days instead of %d: %s",
				RuleName(rule), folder, rule.Days, wholeDays(s.Wanted.Life(folder)), remedy(rule)))
		}
	}
	s.Effective = s.Wanted.within(soonest[Backups].Days, soonest[Packs].Days)
	return s
}

// explicit is the retention with nothing left to defaults.
func (p Policy) explicit() Policy {
	p = p.defaults()
	if p.Reuse == 0 {
		p.Reuse = NoReuse
	}
	return p
}

// minReuse is the reuse window that rules which are too short leave in place
// as long as they can: with less, a backup costs too much to be made often.
const minReuse = day

// within is the longest retention under which no backup that is shown can have
// lost a pack, where manifests and packs are deleted at these ages in days (0:
// never). The reuse window gives way first, down to minReuse, and then both in
// equal parts.
func (p Policy) within(manifests, packs int) Policy {
	if life := time.Duration(manifests) * day; manifests > 0 {
		p.Keep = min(p.Keep, life)
	}
	if packs == 0 {
		return p
	}
	room := time.Duration(packs-1) * day // for both; a day is to spare
	if room <= 0 {
		return Policy{Keep: min(p.Keep, day/2), Reuse: NoReuse}
	}
	least := min(p.Reuse, minReuse, room/2)
	p.Reuse = max(min(p.Reuse, room-p.Keep), least)
	p.Keep = min(p.Keep, room-max(p.Reuse, 0))
	return p
}

// remedy is what to do about a rule that is too short.
func remedy(rule blobstore.Rule) string {
	if rule.Own {
		return "put the rules right with: understudy lifecycle apply"
	}
	return "it is not understudy's; take it out of the bucket, or this prefix out of it"
}

// shortest finds the rule that may delete the soonest in a folder.
func shortest(rules []blobstore.Rule, folder string) (soonest blobstore.Rule, found bool) {
	for _, rule := range rules {
		if Touches(rule, folder) && (!found || rule.Days < soonest.Days) {
			soonest, found = rule, true
		}
	}
	return soonest, found
}

// emptied reports whether a rule deletes all that is old in a folder.
func emptied(rules []blobstore.Rule, folder string) bool {
	for _, rule := range rules {
		if rule.Days > 0 && !rule.Narrowed && strings.HasPrefix(folder, rule.Prefix) {
			return true
		}
	}
	return false
}

// Touches reports whether a rule may delete a current blob whose key has the
// prefix.
func Touches(rule blobstore.Rule, prefix string) bool {
	return rule.Days > 0 && overlaps(prefix, rule.Prefix)
}

// overlaps reports whether a key may have both prefixes.
func overlaps(a, b string) bool { return strings.HasPrefix(a, b) || strings.HasPrefix(b, a) }

// RuleName is what to call a rule in a sentence.
func RuleName(rule blobstore.Rule) string {
	where := "for all keys"
	if rule.Prefix != "" {
		where = "for " + rule.Prefix
	}
	if rule.Name == "" {
		return "the bucket's rule " + where
	}
	return fmt.Sprintf("the bucket's rule %q %s", rule.Name, where)
}

package upkeep

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/pack"
)

// lost knows which packs are missing from the bucket, and whom that hits. It is safe
// for concurrent use.
type lost struct {
	mu      sync.Mutex
	missing map[pack.Digest]pack.Info
	hit     map[string]string // id of a backup that needs one → what is wrong with it
	whole   bool              // the newest backup does without what is missing
	full    bool              // the next backup is to be a full one
	// unlisted says that the newest backup's manifest was not there when it was
	// looked for.
	unlisted bool

	// rotten are those of the missing ones that are there, and are not what their
	// names say, with the versions that were found so.
	rotten  map[pack.Digest]version
	checked map[string]int // of a backup's id: how many rounds of losses it was looked at for
	losses  int            // how often something more was missing
}

func newLost() lost {
	return lost{missing: make(map[pack.Digest]pack.Info), rotten: make(map[pack.Digest]version), hit: make(map[string]string), checked: make(map[string]int)}
}

// gone are the digests that are missing.
func (l *lost) gone() map[pack.Digest]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	gone := make(map[pack.Digest]bool, len(l.missing))
	for d := range l.missing {
		gone[d] = true
	}
	return gone
}

// list are the packs that are missing, in order.
func (l *lost) list() []pack.Info {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]pack.Info, 0, len(l.missing))
	for _, info := range l.missing {
		all = append(all, info)
	}
	slices.SortFunc(all, func(x, y pack.Info) int { return bytes.Compare(x.Digest[:], y.Digest[:]) })
	return all
}

// add notes missing packs, and reports whether one is new.
func (l *lost) add(missing []pack.Info) (news bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, info := range missing {
		if _, known := l.missing[info.Digest]; !known {
			news = true
		}
		l.missing[info.Digest] = info
	}
	if news {
		l.whole = false
		l.losses++
	}
	return news
}

// back notes that packs are there again, and returns how many are missing still.
func (l *lost) back(there ...pack.Digest) (left int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range there {
		delete(l.missing, d)
		delete(l.rotten, d)
	}
	if len(there) > 0 { // whom the rest hits is found out anew
		clear(l.hit)
		clear(l.checked)
	}
	return len(l.missing)
}

// Damage says what is known to be wrong with a backup; "": nothing.
func (l *lost) Damage(id string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hit[id]
}

// Hit are the backups that are known to need what is missing, oldest first.
func (l *lost) Hit() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	ids := make([]string, 0, len(l.hit))
	for id := range l.hit {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// RequireFull makes the next backup read everything and store it again.
func (l *lost) RequireFull() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.full = true
}

// BeginBackup is what the next backup is to do without, and whether it is to
// be a full one.
func (l *lost) BeginBackup() (gone map[pack.Digest]bool, full bool) {
	gone = l.gone()
	l.mu.Lock()
	defer l.mu.Unlock()
	return gone, l.full
}

// prune forgets what is missing that no backup needs any more, and the backups that
// have expired.
func (l *lost) prune(needed []pack.Info, oldest time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.missing) == 0 {
		return
	}
	are := make(map[pack.Digest]bool, len(needed))
	for _, n := range needed {
		are[n.Digest] = true
	}
	maps.DeleteFunc(l.missing, func(d pack.Digest, _ pack.Info) bool { return !are[d] })
	maps.DeleteFunc(l.rotten, func(d pack.Digest, _ version) bool { return !are[d] })
	maps.DeleteFunc(l.hit, func(id string, _ string) bool {
		ref, err := backup.ParseID(id)
		return err == nil && ref.Time.Before(oldest)
	})
}

// noteHit notes how many packs that are gone a backup needs.
func (l *lost) noteHit(id string, needs int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.checked[id] = l.losses; needs > 0 && len(l.missing) > 0 {
		l.hit[id] = fmt.Sprintf("%d of its packs are missing from the bucket, or damaged there: understudy verify --deep %s", needs, id)
	}
}

// isToCheck reports whether more has been lost since a backup was looked at.
func (l *lost) isToCheck(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.checked[id] < l.losses
}

// isWhole reports whether the newest backup does without what is missing.
func (l *lost) isWhole() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.whole || len(l.missing) == 0
}

func (l *lost) setUnlisted(is bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unlisted = is
}

func (l *lost) isUnlisted() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.unlisted
}

// Missing are what this instance's record says is missing.
func (l *lost) Missing() (names []string) {
	missing := l.list()
	for _, p := range missing[:min(len(missing), packsTold)] {
		names = append(names, p.Digest.String())
	}
	return names
}

// addRotten notes packs that are not what their names say, with their versions.
func (l *lost) addRotten(rotten []listedPack) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range rotten {
		l.rotten[r.Digest] = r.version
	}
}

// settle takes in a backup that does without what is missing, and reports whether that
// is news, and how many backups need it still.
func (l *lost) settle(full bool) (news bool, hit int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.full = l.full && !full
	news = len(l.missing) > 0 && !l.whole
	l.whole = true
	return news, len(l.hit)
}

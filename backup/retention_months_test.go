package backup

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/retention"
	"github.com/understudy-ha/understudy/blobstore"
)

// months simulates an active over months: two backups a day, a sweep or the
// bucket's rules before each, and a configuration that changes.
type months struct {
	*world
	configured retention.Policy
	terms      []retention.Period // ended
	live       []madeBackup
}

type madeBackup struct {
	ref  Ref
	at   time.Time
	want []byte
}

func newMonths(t *testing.T) *months {
	m := &months{world: newWorld(t)}
	for i := range 24 {
		m.app.state = append(m.app.state, noise(uint64(i), 4_000))
	}
	return m
}

// configure changes the configuration; the rules stay as they are.
func (m *months) configure(r retention.Policy) {
	m.terms = append(m.terms, retention.Period{Policy: m.configured, Until: m.now})
	m.configured = r
}

// apply is what `understudy lifecycle apply` does.
func (m *months) apply() {
	rules, _ := retention.Promised(m.configured, m.terms, m.now)
	must(m.t, m.store.SetRules(m.t.Context(), rules.Rules()))
}

func (m *months) standing() retention.Effect {
	rules, err := m.store.Rules(m.t.Context())
	must(m.t, err)
	return m.configured.Under(rules)
}

// delete has expire what the bucket, or the active, deletes now.
func (m *months) delete() {
	m.store.Expire(m.now)
	rules, _ := retention.Promised(m.configured, m.terms, m.now)
	spare := map[string]bool{}
	for attrs, err := range retention.Expired(m.t.Context(), m.store, rules, m.standing().Left, m.now, spare) {
		must(m.t, err)
		must(m.t, m.store.Delete(m.t.Context(), attrs.Key))
	}
}

// pass lets time go by, and checks every live backup that is most at risk.
func (m *months) pass(days int, random *rand.Rand) {
	m.t.Helper()
	for range 2 * days {
		m.now = m.now.Add(12 * time.Hour)
		m.delete()
		m.app.state[random.IntN(3)] = noise(random.Uint64(), 4_000) // the others never change
		effective := m.standing().Effective
		ref, _ := m.write(func(o *Order) { o.Retention, o.ReuseWindow = effective.Keep, effective.Reuse })
		m.live = append(m.live, madeBackup{ref, m.now, m.content()})
		for m.now.Sub(m.live[0].at) >= effective.Keep {
			m.live = m.live[1:]
		}
		for i, b := range m.live {
			if i > 1 && i < len(m.live)-1 {
				continue
			}
			if err := m.readable(b.ref, b.want); err != nil {
				m.t.Fatalf("%s: the backup of %s: %v", m.now, b.at, err)
			}
		}
	}
}

// oldest gives the age of the oldest object in a folder.
func (m *months) oldest(folder string) (age time.Duration) {
	for attrs, err := range m.store.List(m.t.Context(), folder, "") {
		must(m.t, err)
		age = max(age, m.now.Sub(attrs.Time))
	}
	return age
}

// gone checks that what should go has gone.
func (m *months) gone(manifests, packs time.Duration) {
	m.t.Helper()
	if age := m.oldest(retention.Backups); age > manifests {
		m.t.Errorf("%s: a manifest is %s old, more than %s", m.now, age, manifests)
	}
	if age := m.oldest(retention.Packs); age > packs {
		m.t.Errorf("%s: a pack is %s old, more than %s", m.now, age, packs)
	}
}

// Over months, in either mode, and with rules that are changed midway, no
// backup that is shown loses a pack, and what should go goes.
func TestNoLiveBackupLosesAPackOverMonths(t *testing.T) {
	for name, byBucket := range map[string]bool{"the bucket's rules": true, "the active": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(5, 6))
			m := newMonths(t)
			apply := func() {
				if byBucket {
					m.apply()
				}
			}
			apply()
			m.pass(30, random)
			m.gone(14*day, 22*day)

			m.configure(retention.Policy{Keep: 21 * day, Reuse: 10 * day})
			m.pass(3, random) // longer rules first, and then the longer window
			apply()
			m.pass(40, random)
			m.gone(21*day, 32*day)

			m.configure(retention.Policy{Keep: 21 * day, Reuse: 2 * day}) // W shrank
			apply()
			m.pass(8, random)
			if age := m.oldest(retention.Packs); age <= 24*day {
				t.Errorf("the oldest pack is %s old: those that older backups refer to must stay", age)
			}
			m.pass(15, random)
			apply() // R days later
			m.pass(3, random)
			m.gone(21*day, 24*day)

			m.configure(retention.Policy{Keep: 5 * day, Reuse: 2 * day}) // R shrank
			apply()
			m.pass(2, random)
			m.gone(5*day, 8*day)

			m.configure(retention.Policy{Keep: 14 * day, Reuse: 7 * day})
			m.pass(1, random)
			apply()
			m.pass(25, random)
			m.gone(14*day, 22*day)
		})
	}
}

// A rule that somebody made for the whole bucket is reckoned with, however
// short it is.
func TestARuleForTheWholeBucketCostsNoLiveBackup(t *testing.T) {
	for name, days := range map[string]int{"two weeks": 14, "a week": 7, "two days": 2, "a day": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMonths(t)
			m.store.AddRule(blobstore.Rule{Name: "tidy", Days: days})
			m.apply()
			m.pass(25, rand.New(rand.NewPCG(7, 8)))
			m.gone(time.Duration(days)*day, time.Duration(days)*day)
			if keep := m.standing().Effective.Keep; keep > time.Duration(days)*day || keep < time.Duration(days)*day/4 {
				t.Errorf("backups are shown for %s under a rule of %d days", keep, days)
			}
		})
	}
}

func TestWhatIsSparedDoesNotExpire(t *testing.T) {
	w := newWorld(t)
	w.app.state = [][]byte{noise(1, 1000)}
	ref, m := w.write()
	_, index, err := w.repo.Open(t.Context(), m, w.repo.BucketPacks())
	must(t, err)
	spare := map[string]bool{ref.Key: true}
	for _, p := range index.Packs() {
		spare[p.Digest.Key()] = true
	}
	for _, key := range []string{"head.json", "backups/x", "packs/x", "salvage/x", "streams/db/1-1/000000000001", "config/x"} {
		_, err := w.store.Put(t.Context(), key, nil, blobstore.Always)
		must(t, err)
	}
	w.now = w.now.Add(400 * day)
	var gone []string
	for attrs, err := range retention.Expired(t.Context(), w.store, retention.Policy{}, retention.Folders, w.now, spare) {
		must(t, err)
		gone = append(gone, attrs.Key)
	}
	if got := strings.Join(gone, " "); got != "backups/x salvage/x packs/x streams/db/1-1/000000000001" {
		t.Errorf("expired: %s", got)
	}
}

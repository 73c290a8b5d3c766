package backup

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/retention"
)

// expire deletes what the bucket's lifecycle rules would.
func (w *world) expire(rules retention.Policy) {
	for a, err := range w.store.List(w.t.Context(), "", "") {
		must(w.t, err)
		life := rules.ManifestLife()
		if strings.HasPrefix(a.Key, "packs/") {
			life = rules.PackLife()
		}
		if w.now.Sub(a.Time) >= life {
			must(w.t, w.store.Delete(w.t.Context(), a.Key))
		}
	}
}

// Over two months of backups, under lifecycle rules, everything that is younger
// than the retention can be read, and renewal is spread.
func TestNothingExpiresThatIsStillNeeded(t *testing.T) {
	w := newWorld(t)
	rules := retention.Policy{}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 40 {
		w.app.state = append(w.app.state, noise(uint64(i), 30_000))
	}
	type made struct {
		ref  Ref
		at   time.Time
		want []byte
	}
	var all []made
	renewals := 0
	for day := range 60 {
		for range 3 {
			w.now = w.now.Add(8 * time.Hour)
			w.expire(rules)
			w.app.state[random.IntN(3)] = noise(random.Uint64(), 30_000) // the others never change
			ref, m := w.write()
			if day > 1 && m.Size.New > 31_000 {
				renewals++
			}
			all = append(all, made{ref, w.now, w.content()})
			w.checkAges(m)
		}
		for len(all) > 0 && w.now.Sub(all[0].at) >= retention.DefaultKeep {
			all = all[1:]
		}
		for i, b := range all { // the oldest of them are what is at risk
			if i > 3 && i < len(all)-1 {
				continue
			}
			if err := w.readable(b.ref, b.want); err != nil {
				t.Fatalf("day %d: backup of %s: %v", day, b.at, err)
			}
		}
	}
	if renewals < 10 {
		t.Errorf("only %d backups renewed something: it should be spread", renewals)
	}
}

// checkAges checks the rule that makes expiry safe.
func (w *world) checkAges(m *Manifest) {
	w.t.Helper()
	_, index, err := w.repo.Open(w.t.Context(), m, w.repo.BucketPacks())
	must(w.t, err)
	for _, p := range index.Packs() {
		if age := w.now.Sub(p.Time); age >= retention.DefaultReuse {
			w.t.Fatalf("a backup refers to %s, which is %s old", p.Digest.Key(), age)
		}
	}
}

func TestAWrongClockCannotPublishWhatWouldExpire(t *testing.T) {
	w := newWorld(t)
	w.app.state = [][]byte{noise(1, 1000)}
	w.write()
	behind := w.now
	w.now = w.now.Add(10 * day)
	wrong := func(o *Order) { o.Now = func() time.Time { return behind } }
	if _, _, err := w.try(wrong); !errors.Is(err, ErrExpiring) {
		t.Fatalf("Write: %v", err)
	}
	ref, m := w.write(wrong, func(o *Order) { o.StoreTime = func() time.Time { return w.now } })
	if m.Size.New == 0 {
		t.Error("nothing was renewed")
	}
	w.checkAges(m)
	w.check(ref, w.content())
}

func TestRenewalIsSpreadOverTheWindow(t *testing.T) {
	rules := retention.Policy{Keep: 20 * day, Reuse: 8 * day}
	stored := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	perDay := make([]int, 10)
	random := rand.New(rand.NewPCG(3, 4))
	for range 1000 {
		p := pack.Info{Time: stored}
		for i := range p.Digest {
			p.Digest[i] = byte(random.Uint32())
		}
		age := 0
		for !rules.Due(p, stored.Add(time.Duration(age)*day)) {
			age++
		}
		perDay[age]++
		if !rules.Outlives(p, stored.Add(8*day)) || rules.Outlives(p, stored.Add(9*day)) {
			t.Fatal("a pack outlives manifests up to the reuse window later, and no more")
		}
	}
	for age, n := range perDay {
		if spread := age >= 5 && age <= 7; spread != (n > 200) {
			t.Errorf("%d packs are renewed at %d days", n, age)
		}
	}
	if rules.PackLife() != 29*day || rules.ManifestLife() != 20*day {
		t.Errorf("lives %s and %s", rules.PackLife(), rules.ManifestLife())
	}
}

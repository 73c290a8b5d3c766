package backup

import "time"

// Term is a stretch of time in which a retention was configured. Times are in
// the store's time.
type Term struct {
	Retention Retention
	Until     time.Time // zero: it still is
}

// termSlack is how long after the end of a term a backup may still be
// published that was begun in it.
const termSlack = day

// Promised is the retention by which packs must be kept at time now: the one
// that is configured, with the longest reuse window that a backup was made
// under which is still restorable. So the rule for packs gets shorter only
// once Keep has passed since the window shrank: at until, which is zero when
// nothing is to be waited for. A longer window, and any change of Keep, count
// at once.
func Promised(configured Retention, terms []Term, now time.Time) (r Retention, until time.Time) {
	r = configured.explicit()
	window := r.Reuse
	for _, t := range terms {
		before := t.Retention.explicit().Reuse
		end := t.Until.Add(termSlack + r.Keep)
		if t.Until.IsZero() || before <= window || !now.Before(end) {
			continue
		}
		r.Reuse = max(r.Reuse, before)
		if end.After(until) {
			until = end
		}
	}
	return r, until
}

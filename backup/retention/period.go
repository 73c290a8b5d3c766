package retention

import "time"

// Period is a stretch of time in which a retention was configured. Times are in
// the store's time.
type Period struct {
	Policy Policy
	Until  time.Time // zero: it still is
}

// publishSlack is how long after the end of a period a backup may still be
// published that was begun in it.
const publishSlack = day

// Promised is the retention by which packs must be kept at time now: the one
// that is configured, with the longest reuse window that a backup was made
// under which is still restorable. So the rule for packs gets shorter only
// once Keep has passed since the window shrank: at until, which is zero when
// nothing is to be waited for. A longer window, and any change of Keep, count
// at once.
func Promised(configured Policy, earlier []Period, now time.Time) (p Policy, until time.Time) {
	p = configured.explicit()
	window := p.Reuse
	for _, e := range earlier {
		before := e.Policy.explicit().Reuse
		end := e.Until.Add(publishSlack + p.Keep)
		if e.Until.IsZero() || before <= window || !now.Before(end) {
			continue
		}
		p.Reuse = max(p.Reuse, before)
		if end.After(until) {
			until = end
		}
	}
	return p, until
}

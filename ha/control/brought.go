package control

import (
	"maps"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/ha"
)

// Brought is the log of a source that a promotion brought to the new active, beyond the
// backup.
type Brought struct {
	Source string    `json:"source"`
	Stream string    `json:"stream"`
	Part   uint64    `json:"part"`  // that ended it
	UpTo   time.Time `json:"up_to"` // when the old active had read the last of it, on its clock
}

// Bring adds the logs that a head of the takeover's epoch says came with it. With an older
// backup, or where no backup led up to a stream, none did.
func (t *Takeover) Bring(h *ha.Head) {
	if h.Epoch != t.Epoch || h.CutOff != nil || t.recovered != "" {
		return
	}
	t.Brought = nil
	for _, source := range slices.Sorted(maps.Keys(h.Ended)) {
		if s := h.Ended[source]; !s.Unbased && !s.Tip.Time.IsZero() {
			t.Brought = append(t.Brought, Brought{Source: source, Stream: s.ID.String(), Part: s.Tip.Sequence, UpTo: s.Tip.Time})
		}
	}
	t.Lost = t.lost()
}

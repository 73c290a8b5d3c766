package work

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/clock"
)

// When log that is in no backup gets into one. Its parts expire after days, and whoever
// takes over reads them one by one.
const (
	packBytes = 64 << 20
	packAge   = time.Hour
	// packApart is how long such a backup comes after any other, and after the last attempt:
	// a backup is of all sources.
	packApart = 5 * time.Minute
	packEvery = 15 * time.Second
)

// Packing asks for a backup where logs of an active's sources need one before the schedule
// makes it: whatever the interval is, and also while the schedule is paused.
type Packing struct {
	view     func() ha.Status
	clock    clock.Clock
	unpacked func() map[string]int64
	post     func(ha.Event)

	newest string // id of the newest backup
	since  ha.Now // when that was seen first
	asked  *ha.Now
}

// NewPacking has asked for nothing. unpacked is how much log of each source comes after the
// newest backup, as far as the servers say.
func NewPacking(view func() ha.Status, c clock.Clock, unpacked func() map[string]int64, post func(ha.Event)) *Packing {
	return &Packing{view: view, clock: c, unpacked: unpacked, post: post}
}

// Turn asks for a backup if one is due, and returns when to look again.
func (p *Packing) Turn(context.Context) time.Duration {
	now := p.clock.Now()
	if why := p.why(p.view(), now); why != "" {
		p.asked = &now
		p.post(ha.RequestBackup{Request: "packing", Trigger: backup.Scheduled, Reason: why})
	}
	return packEvery
}

// why says why a backup is due; "": none is.
func (p *Packing) why(core ha.Status, now ha.Now) string {
	h := core.Head
	if core.Role != ha.RoleActive || !core.Leading || core.Refused != "" || h == nil || h.Newest == nil {
		return ""
	}
	if h.Newest.ID != p.newest {
		p.newest, p.since = h.Newest.ID, now
	}
	// The age by the wall clock is that of a backup by a process before this one, too.
	age := max(now.Since(p.since), now.Wall.Sub(h.Newest.Time))
	underWay := strings.HasPrefix(core.Work, "backup") || core.Handover != nil
	if underWay || age < packApart || p.asked != nil && now.Since(*p.asked) < packApart {
		return ""
	}
	all := p.unpacked()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if n := all[name]; n >= packBytes || n > 0 && age >= packAge {
			return fmt.Sprintf("%s of log of %s are in no backup", humanize.IBytes(uint64(n)), name)
		}
	}
	return ""
}

package control

import (
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/stream"
	"github.com/understudy-ha/understudy/ha"
)

// TestWhatAFailoverLostIsToldOfEachSource: a log that was shipped is here, unless no backup
// led up to it, or an older backup was chosen; and where nothing was lost nothing is told.
func TestWhatAFailoverLostIsToldOfEachSource(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 4e8, time.UTC)
	const here = "of db all that was shipped is here: what was read on a up to 2026-03-04 05:06:07.4 UTC"
	for name, c := range map[string]struct {
		change  func(t *Takeover, h *ha.Head)
		brought bool
		told    string
	}{
		"failover": {func(*Takeover, *ha.Head) {}, true, here},
		"unbased": {func(_ *Takeover, h *ha.Head) {
			h.Ended = map[string]ha.Stream{"db": {Unbased: true, Tip: stream.Tip{Time: at}}}
		}, false, ""},
		"older backup": {func(t *Takeover, h *ha.Head) { t.CutOff, h.CutOff = "b2", &backup.Ref{ID: "b2"} }, false, ""},
		"nothing lost": {func(t *Takeover, _ *ha.Head) { t.Salvaged = []Salvaged{{Instance: "a", Epoch: 3}} }, true, ""},
		"salvaged":     {func(t *Takeover, _ *ha.Head) { t.Salvaged = []Salvaged{{Instance: "a", Epoch: 3, Backup: "s1"}} }, true, here},
		"switchover":   {func(t *Takeover, _ *ha.Head) { t.Mode = ha.ModeSwitchover }, true, ""},
		"later epoch":  {func(_ *Takeover, h *ha.Head) { h.Epoch = 4 }, false, ""},
	} {
		takeover := &Takeover{Epoch: 3, Mode: ha.ModeFailover, Active: "b", Old: "a", Restored: "b1"}
		h := &ha.Head{Epoch: 3, Ended: map[string]ha.Stream{"db": {ID: stream.ID{Epoch: 2, N: 1}, Tip: stream.Tip{Sequence: 9, Time: at}, Closed: true}}}
		c.change(takeover, h)
		takeover.Bring(h)
		if (len(takeover.Brought) == 1) != c.brought {
			t.Errorf("%s: brought %+v", name, takeover.Brought)
		}
		text := strings.Join(takeover.Lost, "\n")
		if strings.Contains(text, here) != (c.told != "") {
			t.Errorf("%s: %s", name, text)
		}
		if name == "failover" && !strings.Contains(text, "what came after backup b1 on a, but for logs that were shipped, is not here") {
			t.Error(text)
		}
	}
}

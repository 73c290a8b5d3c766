package terminal

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup"
)

func TestProgressElsewhereIsAFewPlainLines(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(0, 0)
	p := NewProgress(&out, false, func() time.Time { return now })
	for i := range int64(1000) {
		p.Update(backup.Progress{Step: "fetch packs", Done: i << 10, Total: 1000 << 10})
		now = now.Add(10 * time.Millisecond)
	}
	p.Update(backup.Progress{Step: "restore db"})
	p.End()
	want := []string{"fetch packs: 0 B of 1000 KiB", "fetch packs: 500 KiB of 1000 KiB", "fetch packs: 999 KiB of 1000 KiB", "restore db: 0 B"}
	if got := strings.TrimSpace(out.String()); got != strings.Join(want, "\n") {
		t.Errorf("printed\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

func TestProgressOnATerminalIsABar(t *testing.T) {
	var out bytes.Buffer
	p := NewProgress(&out, true, time.Now)
	p.bars = true
	p.Update(backup.Progress{Step: "fetch packs", Done: 0, Total: 100})
	p.Update(backup.Progress{Step: "fetch packs", Done: 100, Total: 100})
	p.Update(backup.Progress{Step: "restore db", Done: 7})
	p.End()
	if got := out.String(); !strings.Contains(got, "fetch packs 100%") || !strings.Contains(got, "restore db") {
		t.Errorf("printed %q", got)
	}
}

// Nothing is said of a speed: what is reported at once, as when it is only looked whether
// packs are there, was not read at once ("11 TB/s").
func TestProgressClaimsNoSpeed(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(0, 0)
	p := NewProgress(&out, false, func() time.Time { return now })
	p.bars = true
	p.Update(backup.Progress{Step: "check packs", Total: 11 << 40})
	now = now.Add(time.Millisecond)
	p.Update(backup.Progress{Step: "check packs", Done: 11 << 40, Total: 11 << 40})
	p.End()
	if got := out.String(); strings.Contains(got, "/s") || !strings.Contains(got, "check packs 100% [================] 11 TiB of 11 TiB\n") {
		t.Errorf("printed %q", got)
	}
}

// How long it goes on is said by what was done while it was watched: what was there before
// took no time now.
func TestProgressTellsHowLongByWhatWasDone(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(0, 0)
	p := NewProgress(&out, false, func() time.Time { return now })
	p.bars = true
	p.Update(backup.Progress{Step: "fetch packs", Done: 50, Total: 100})
	now = now.Add(time.Second)
	p.Update(backup.Progress{Step: "fetch packs", Done: 55, Total: 100})
	if got := out.String(); strings.Contains(got, "left") {
		t.Errorf("after a second: %q", got)
	}
	now = now.Add(9 * time.Second)
	p.Update(backup.Progress{Step: "fetch packs", Done: 60, Total: 100})
	if got := out.String(); !strings.HasSuffix(got, "fetch packs  60% [=========       ] 60 B of 100 B, about 40s left") {
		t.Errorf("printed %q", got)
	}
	for line := range strings.SplitSeq(out.String(), ClearLine) {
		if n := len(line); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	// More than the total is no more than all; less than before is no time at all.
	p.Update(backup.Progress{Step: "fetch packs", Done: 160, Total: 100})
	p.End()
	if got := out.String(); !strings.Contains(got, "100% [================] 100 B of 100 B\n") {
		t.Errorf("printed %q", got)
	}
}

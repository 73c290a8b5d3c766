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
	p := NewProgress(&out, func() time.Time { return now })
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
	p := NewProgress(&out, time.Now)
	p.bars = true
	p.Update(backup.Progress{Step: "fetch packs", Done: 0, Total: 100})
	p.Update(backup.Progress{Step: "fetch packs", Done: 100, Total: 100})
	p.Update(backup.Progress{Step: "restore db", Done: 7})
	p.End()
	if got := out.String(); !strings.Contains(got, "fetch packs 100%") || !strings.Contains(got, "restore db") {
		t.Errorf("printed %q", got)
	}
}

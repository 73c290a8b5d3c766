package terminal

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/backup"
)

// Progress shows how far long work has come: a bar on a terminal, plain lines
// elsewhere. It is safe for concurrent use. It says how much there is and how much of
// it is done, and no speed: a step may pass over what need not be read, and what is
// reported at once was not done at once.
type Progress struct {
	mu    sync.Mutex
	out   io.Writer
	now   func() time.Time
	bars  bool
	last  backup.Progress
	said  string    // of last
	at    time.Time // when that was shown
	began time.Time // the step
	first int64     // that was done then
}

// How often a plain line is written at most, and a bar drawn; and from when on it is said
// how long a step goes on.
const (
	plainEvery = 5 * time.Second
	drawEvery  = 100 * time.Millisecond
	tellAfter  = 3 * time.Second
)

// NewProgress shows progress on out, in bars where that can be drawn upon.
func NewProgress(out io.Writer, bars bool, now func() time.Time) *Progress {
	return &Progress{out: out, now: now, bars: bars}
}

// Update takes in how far the work has come.
func (p *Progress) Update(at backup.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, every := p.now(), plainEvery
	if p.bars {
		every = drawEvery
	}
	newStep := at.Step != p.last.Step
	if newStep {
		p.endStep()
		p.began, p.first = now, at.Done
	}
	p.last = at
	if newStep || now.Sub(p.at) >= every {
		p.show(now)
	}
}

// End ends the last step.
func (p *Progress) End() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endStep()
	p.last = backup.Progress{}
}

func (p *Progress) endStep() {
	if p.last.Step == "" {
		return
	}
	if p.bars || p.last.Done > 0 {
		p.show(p.now())
	}
	if p.bars {
		fmt.Fprintln(p.out)
	}
	p.said = ""
}

// show shows the last news, unless that stands there.
func (p *Progress) show(now time.Time) {
	text := p.plain()
	if p.bars {
		text = p.bar(now)
	}
	p.at = now
	if text == p.said {
		return
	}
	p.said = text
	if p.bars {
		fmt.Fprint(p.out, ClearLine+text)
		return
	}
	fmt.Fprintln(p.out, text)
}

// ClearLine has what is written next take the place of a terminal's line.
const ClearLine = "\r\x1b[K"

func (p *Progress) plain() string {
	if p.last.Total > 0 {
		return fmt.Sprintf("%s: %s of %s", p.last.Step, Size(p.last.Done), Size(p.last.Total))
	}
	return fmt.Sprintf("%s: %s", p.last.Step, Size(p.last.Done))
}

// barWidth is how wide the bar itself is; a whole line fits 80 columns.
const (
	barWidth  = 16
	stepWidth = 24
)

func (p *Progress) bar(now time.Time) string {
	step := p.last.Step
	if r := []rune(step); len(r) > stepWidth {
		step = string(r[:stepWidth-1]) + "…"
	}
	took := now.Sub(p.began)
	if p.last.Total <= 0 {
		text := fmt.Sprintf("%s  %s", step, Size(p.last.Done))
		if took >= tellAfter {
			text += ", for " + Age(took.Truncate(time.Second))
		}
		return text
	}
	done := min(max(p.last.Done, 0), p.last.Total)
	full := int(float64(done) / float64(p.last.Total) * barWidth)
	text := fmt.Sprintf("%s %3d%% [%s%s] %s of %s", step, int(float64(done)/float64(p.last.Total)*100),
		strings.Repeat("=", full), strings.Repeat(" ", barWidth-full), Size(done), Size(p.last.Total))
	if made := done - p.first; took >= tellAfter && made > 0 && done < p.last.Total {
		left := time.Duration(float64(took) / float64(made) * float64(p.last.Total-done))
		text += ", about " + Age(max(left.Round(time.Second), time.Second)) + " left"
	}
	return text
}

package terminal

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/understudy-ha/understudy/backup"
)

// Progress shows how far long work has come: a bar on a terminal, plain lines
// elsewhere. It is safe for concurrent use.
type Progress struct {
	mu   sync.Mutex
	out  io.Writer
	now  func() time.Time
	bars bool
	bar  *progressbar.ProgressBar
	last backup.Progress
	said time.Time
}

// plainEvery is how often a plain line is written at most.
const plainEvery = 5 * time.Second

// NewProgress shows progress on out.
func NewProgress(out io.Writer, now func() time.Time) *Progress {
	return &Progress{out: out, now: now, bars: IsTerminal(out)}
}

// Update takes in how far the work has come.
func (p *Progress) Update(at backup.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	newStep := at.Step != p.last.Step
	if newStep {
		p.endStep()
	}
	p.last = at
	if p.bars {
		p.draw(newStep, at)
		return
	}
	if now := p.now(); newStep || now.Sub(p.said) >= plainEvery {
		p.said = now
		p.print(at)
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
	switch {
	case p.last.Step == "":
	case p.bar != nil:
		_ = p.bar.Exit() // leaves the bar as it stands
		fmt.Fprintln(p.out)
		p.bar = nil
	case p.last.Done > 0:
		p.print(p.last)
	}
}

func (p *Progress) draw(newStep bool, at backup.Progress) {
	total := at.Total
	if total <= 0 {
		total = -1 // a spinner
	}
	if newStep || p.bar == nil {
		p.bar = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(p.out),
			progressbar.OptionSetDescription(at.Step),
			progressbar.OptionShowBytes(true),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionSetWidth(24),
			progressbar.OptionSetSpinnerChangeInterval(0), // otherwise a goroutine draws on, which nothing ends
		)
	}
	if p.bar.GetMax64() != total {
		p.bar.ChangeMax64(total)
	}
	_ = p.bar.Set64(at.Done) // a terminal that is gone is no reason to stop
}

func (p *Progress) print(at backup.Progress) {
	if at.Total > 0 {
		fmt.Fprintf(p.out, "%s: %s of %s\n", at.Step, Size(at.Done), Size(at.Total))
		return
	}
	fmt.Fprintf(p.out, "%s: %s\n", at.Step, Size(at.Done))
}

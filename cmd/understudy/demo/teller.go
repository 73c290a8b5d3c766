package demo

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"golang.org/x/term"
)

// teller tells the story to people. On a terminal it has colours, and says
// what is under way; elsewhere it is plain text.
type teller struct {
	out      io.Writer
	terminal bool
	chapters int
}

func newTeller(out io.Writer) *teller {
	f, ok := out.(*os.File)
	return &teller{out: out, terminal: ok && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

// Escape sequences of terminals.
const (
	styleBold  = "\x1b[1m"
	styleDim   = "\x1b[2m"
	styleRed   = "\x1b[31m"
	styleGreen = "\x1b[32m"
	styleEnd   = "\x1b[0m"
	eraseLine  = "\r\x1b[K"
)

func (t *teller) style(style, text string) string {
	if !t.terminal {
		return text
	}
	return style + text + styleEnd
}

func (t *teller) printf(format string, args ...any) { fmt.Fprintf(t.out, format, args...) }

func (t *teller) opening(s *stage) {
	t.printf("%s\n\nEverything happens in %s, on this machine alone.\n",
		t.style(styleBold, "Understudy: a warm copy of an application, ready to take over"), s.dir)
}

func (t *teller) chapter(title, text string) {
	t.chapters++
	t.printf("\n%s\n", t.style(styleBold, fmt.Sprintf("%d. %s", t.chapters, title)))
	for line := range strings.Lines(text + "\n") {
		t.printf("   %s", line)
	}
	t.printf("\n")
}

// doing says what is under way, until verdict or quiet.
func (t *teller) doing(promise string) {
	if t.terminal {
		t.printf("   %s", t.style(styleDim, "… "+promise))
	}
}

func (t *teller) quiet() {
	if t.terminal {
		t.printf("%s", eraseLine)
	}
}

// mark is a check mark or a cross.
func (t *teller) mark(ok bool) string {
	if ok {
		return t.style(styleGreen, "✓")
	}
	return t.style(styleRed, "✗")
}

func (t *teller) verdict(c Check) {
	t.quiet()
	t.printf("   %s %-66s %7s\n", t.mark(c.OK), c.Promise, took(c.Seconds))
	if c.Detail != "" {
		for line := range strings.Lines(c.Detail) {
			t.printf("     %s\n", t.style(styleDim, strings.TrimSuffix(line, "\n")))
		}
	}
}

// logLines is how much of a log is shown when something went wrong.
const logLines = 20

// log shows the end of a host's log.
func (t *teller) log(h *host) {
	text, err := os.ReadFile(h.path("agent.log"))
	if err != nil {
		t.printf("\n   The agent of %s has left no log: %v\n", h.name, err)
		return
	}
	lines := strings.Split(string(bytes.TrimSpace(text)), "\n")
	t.printf("\n   The end of %s's log:\n", h.name)
	for _, line := range lines[max(0, len(lines)-logLines):] {
		t.printf("     %s\n", line)
	}
}

// summary ends the story.
func (t *teller) summary(r Report) {
	if len(r.Figures) > 0 {
		t.printf("\n%s\n", t.style(styleBold, "In short"))
		for _, f := range r.Figures {
			t.printf("   %-34s %7s   %s\n", f.What, took(f.Seconds), f.Result)
		}
	}
	held := len(r.Checks)
	if r.OK {
		t.printf("\n   %s All %d promises held, in %s.\n", t.mark(true), held, took(r.Seconds))
		return
	}
	t.printf("\n   %s %d promises held, then one was broken, after %s.\n", t.mark(false), held-1, took(r.Seconds))
}

const lookAround = `
   In another terminal, take the place of a host (here host-a, a standby) and look:

      . %s
      %[2]s status
      %[2]s backups
      %[2]s events
      %[2]s promote     # make it the active, losing nothing

   A load balancer asks ADDRESS/leader (200 on the active, 503 elsewhere), and
   Prometheus ADDRESS/metrics. The agents' logs are in %[3]s.
`

// lookAround says how to look at the cluster that was left running.
func (t *teller) lookAround(s *stage, password string) {
	t.printf("\n%s\n", t.style(styleBold, "The cluster is yours until you press Ctrl-C"))
	for _, h := range s.hosts {
		what := "standby"
		if h == s.c {
			what = "active"
			if page, err := os.ReadFile(filepath.Join(h.path("run"), "url")); err == nil {
				what += "; the application's page is " + string(bytes.TrimSpace(page))
			}
		}
		t.printf("   %s  %s  %s\n", h.name, h.url(), what)
	}
	t.printf("\nEach address is a console: sign in as %s with the password %s\n", user, password)
	t.printf(lookAround, s.a.path("env"), s.a.program, filepath.Join(s.dir, "host-*", "agent.log"))
}

func (t *teller) leave(kept bool, dir string) {
	if kept {
		t.printf("\nStopping. The files stay in %s\n", dir)
		return
	}
	t.printf("\nStopping, and leaving nothing behind.\n")
}

// brief is a length of time, in the precision that people want.
func brief(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

func took(seconds float64) string { return brief(time.Duration(seconds * float64(time.Second))) }

func number(n int64) string { return humanize.Comma(n) }

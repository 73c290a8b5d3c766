package terminal

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// openTerminal is a terminal of so many columns, and what shows on it.
func openTerminal(t *testing.T, columns uint16) (tty *os.File, shown func() string) {
	t.Helper()
	host, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { host.Close() })
	fd := int(host.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns})
	}
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return tty, func() string {
		tty.Close()
		var all bytes.Buffer
		_, _ = all.ReadFrom(host) // ends with an error, as nobody has the terminal open
		return strings.ReplaceAll(all.String(), "\r\n", "\n")
	}
}

// Colours are for people on a terminal who have not asked for none.
func TestColoursAreForTerminalsAlone(t *testing.T) {
	for name, tt := range map[string]struct {
		env  map[string]string
		want bool
	}{
		"a terminal":        {map[string]string{"TERM": "xterm-256color"}, true},
		"an empty NO_COLOR": {map[string]string{"TERM": "xterm", "NO_COLOR": ""}, true},
		"NO_COLOR":          {map[string]string{"TERM": "xterm", "NO_COLOR": "1"}, false},
		"a dumb terminal":   {map[string]string{"TERM": "dumb"}, false},
		"an unknown one":    {nil, false},
	} {
		tty, shown := openTerminal(t, 80)
		lookup := func(name string) (string, bool) { v, ok := tt.env[name]; return v, ok }
		p := Printer{Std: Streams{Out: tty, Err: tty, Lookup: lookup}}
		if got, want := p.Std.Redraws(tty), tt.env["TERM"] != "dumb"; got != want {
			t.Errorf("%s: it can be drawn over: %v", name, got)
		}
		err := p.Show(nil, func(w io.Writer) {
			Table(w, []any{"A"}, [][]any{{Cell{"fine", Good}}})
		})
		p.Warn("careful")
		if got := shown(); err != nil || strings.Contains(got, "\x1b[32mfine\x1b[0m") != tt.want || strings.Contains(got, "\x1b[33mwarning:") != tt.want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	var out bytes.Buffer
	p := Printer{Std: Streams{Out: &out, Lookup: func(string) (string, bool) { return "xterm", true }}}
	if err := p.Show(nil, func(w io.Writer) { Table(w, []any{"A"}, [][]any{{Cell{"fine", Good}}}) }); err != nil || strings.Contains(out.String(), "\x1b") {
		t.Errorf("elsewhere: %q, %v", out.String(), err)
	}
}

// A table fits its terminal, and nothing of it is lost.
func TestATableFitsTheTerminal(t *testing.T) {
	tty, shown := openTerminal(t, 60)
	p := Printer{Std: Streams{Out: tty}}
	long := "what is said of it goes on and on, with an-unbreakable-word-of-" + strings.Repeat("x", 90) + " in it, to the end"
	if err := p.Show(nil, func(w io.Writer) {
		w = Within(w, 100)
		Table(w, []any{"CHECK", "RESULT", "DETAIL"}, [][]any{{"bucket", Cell{"ok", Good}, "ä"}, {"hook demote", "warning", long}})
		Facts(w, [][2]string{{"Detail", long}})
	}); err != nil {
		t.Fatal(err)
	}
	got := shown()
	for line := range strings.SplitSeq(got, "\n") {
		if utf8.RuneCountInString(line) > 60 {
			t.Errorf("too long: %s", line)
		}
	}
	bare := func(s string) string { return strings.Join(strings.Fields(s), "") }
	if strings.Count(bare(got), bare(strings.Fields(long)[0])) < 2 || strings.Count(got, "x") < 180 || !strings.Contains(got, "to the end") {
		t.Errorf("something is lost:\n%s", got)
	}
	// Elsewhere words stay whole: an id can be copied.
	tty, shown = openTerminal(t, 60)
	id := "20260301T120000Z-e00000001-s00000042-379011e4"
	if err := (Printer{Std: Streams{Out: tty}}).Show(nil, func(w io.Writer) {
		Table(w, []any{"ID", "TIME", "REASON"}, [][]any{{id, "2026-03-01 12:00:00Z", "a reason of many words that goes on below"}})
	}); err != nil {
		t.Fatal(err)
	}
	if got := shown(); !strings.Contains(got, id+"  2026-03-01 12:00:00Z  a reason") || strings.Count(got, "\n") < 3 {
		t.Errorf("printed\n%s", got)
	}
	var wide bytes.Buffer
	Table(&wide, []any{"CHECK", "DETAIL"}, [][]any{{"bucket", long}})
	if n := strings.Count(wide.String(), "\n"); n != 2 {
		t.Errorf("for a program it takes %d lines:\n%s", n, wide.String())
	}
}

func TestExactLeavesNothingOut(t *testing.T) {
	for d, want := range map[time.Duration]string{5 * time.Minute: "5m", 336 * time.Hour: "14d", 25 * time.Hour: "25h", 90 * time.Second: "1m30s", 25*time.Hour + time.Second: "25h0m1s", 0: "0s"} {
		if got := Exact(d); got != want {
			t.Errorf("%v: %s, want %s", time.Duration(d), got, want)
		}
	}
}

func TestAgesEndWithWhatIsSomething(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 340 * time.Millisecond: "340ms", 1500 * time.Millisecond: "1.5s", 90 * time.Second: "1m30s", 5 * time.Minute: "5m",
		2 * time.Hour: "2h", 2*time.Hour + 5*time.Minute: "2h5m", 47 * time.Hour: "47h", 48 * time.Hour: "2d", 75 * time.Hour: "3d3h", -time.Minute: "-1m",
		10 * time.Second: "10s", 20*time.Hour + 10*time.Minute: "20h10m",
	} {
		if got := Age(d); got != want {
			t.Errorf("%v: %s, want %s", time.Duration(d), got, want)
		}
	}
}

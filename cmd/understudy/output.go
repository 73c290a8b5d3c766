package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/understudy-ha/understudy/cmd/understudy/exit"
)

// printer writes what a command shows: for people, or as JSON.
type printer struct {
	std  stdio
	json bool
}

// show prints v as JSON with --json, and otherwise lets people write for
// people. v's field names are part of the command line's contract.
func (p printer) show(v any, people func(w io.Writer)) error {
	if !p.json {
		people(p.std.out)
		return nil
	}
	enc := json.NewEncoder(p.std.out)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("print result: %w", err)
	}
	return nil
}

// line prints one line of JSON, or lets people write: for what goes on.
func (p printer) line(v any, people func(w io.Writer)) error {
	if !p.json {
		people(p.std.out)
		return nil
	}
	if err := json.NewEncoder(p.std.out).Encode(v); err != nil {
		return fmt.Errorf("print result: %w", err)
	}
	return nil
}

// note says something by the way to people, which is no part of the result.
func (p printer) note(format string, args ...any) {
	if p.json {
		return
	}
	fmt.Fprintf(p.std.err, format+"\n", args...)
}

// warn says what has to be known before the result is believed; with --json as
// {"warning": TEXT} on standard error.
func (p printer) warn(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if p.json {
		_ = json.NewEncoder(p.std.err).Encode(map[string]string{"warning": text}) // no part of the result
		return
	}
	fmt.Fprintln(p.std.err, "warning:", text)
}

// failureJSON is how a failed command ends on standard error with --json.
type failureJSON struct {
	Error    string `json:"error"`
	ExitCode int    `json:"exit_code"`
}

// failure says why the program ends with code.
func (p printer) failure(err error, code int) {
	if p.json {
		_ = json.NewEncoder(p.std.err).Encode(failureJSON{Error: err.Error(), ExitCode: code}) // nowhere left to say so
		return
	}
	text := err.Error()
	if code == exit.Interrupted {
		text = "interrupted: " + text
	}
	fmt.Fprintln(p.std.err, "understudy:", text)
}

// table prints rows under headings.
func table(w io.Writer, headings []any, rows [][]any) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range append([][]any{headings}, rows...) {
		for i, cell := range row {
			if i > 0 {
				fmt.Fprint(t, "\t")
			}
			fmt.Fprint(t, cell)
		}
		fmt.Fprintln(t)
	}
	_ = t.Flush() // w's own error shows at the next write
}

// stamp is a time for people: always UTC, so that it reads the same on every
// host.
func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

// age is a length of time for people.
func age(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	case d < time.Hour:
		return d.Round(time.Second).String()
	default:
		return d.Round(time.Minute).String()
	}
}

// size is a number of bytes for people.
func size(n int64) string { return humanize.IBytes(uint64(max(0, n))) }

// days is a length of time for people, in days.
func days(d time.Duration) string {
	return strconv.FormatFloat(d.Hours()/24, 'f', -1, 64) + " days"
}

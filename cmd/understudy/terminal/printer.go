// Package terminal is what people see of a command, and what they are asked: results
// for people or as JSON, tables, progress, times and sizes, questions and passwords.
// It knows nothing of the cluster.
package terminal

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/understudy-ha/understudy/cmd/understudy/exit"
)

// Streams are where a command reads and writes.
type Streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
	// Lookup reads the environment, for what it says of colours; nil: there are none.
	Lookup func(name string) (string, bool)
}

// Printer writes what a command shows: for people, or as JSON.
type Printer struct {
	Std  Streams
	JSON bool
}

// Show prints v as JSON with --json, and otherwise lets people write for
// people. v's field names are part of the command line's contract.
func (p Printer) Show(v any, people func(w io.Writer)) error {
	if !p.JSON {
		people(p.Std.pageOf(p.Std.Out))
		return nil
	}
	enc := json.NewEncoder(p.Std.Out)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("print result: %w", err)
	}
	return nil
}

// Line prints one line of JSON, or lets people write: for what goes on.
func (p Printer) Line(v any, people func(w io.Writer)) error {
	if !p.JSON {
		people(p.Std.pageOf(p.Std.Out))
		return nil
	}
	if err := json.NewEncoder(p.Std.Out).Encode(v); err != nil {
		return fmt.Errorf("print result: %w", err)
	}
	return nil
}

// Note says something by the way to people, which is no part of the result.
func (p Printer) Note(format string, args ...any) {
	if p.JSON {
		return
	}
	fmt.Fprintf(p.Std.Err, format+"\n", args...)
}

// Warn says what has to be known before the result is believed; with --json as
// {"warning": TEXT} on standard error.
func (p Printer) Warn(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if p.JSON {
		_ = json.NewEncoder(p.Std.Err).Encode(map[string]string{"warning": text}) // no part of the result
		return
	}
	fmt.Fprintln(p.Std.Err, Paint(p.Std.pageOf(p.Std.Err), Known, "warning:"), text)
}

// Failure is how a failed command ends on standard error with --json.
type Failure struct {
	Error    string `json:"error"`
	ExitCode int    `json:"exit_code"`
}

// Fail says why the program ends with code.
func (p Printer) Fail(err error, code int) {
	if p.JSON {
		_ = json.NewEncoder(p.Std.Err).Encode(Failure{Error: err.Error(), ExitCode: code}) // nowhere left to say so
		return
	}
	text := err.Error()
	if code == exit.Interrupted {
		text = "interrupted: " + text
	}
	fmt.Fprintln(p.Std.Err, Paint(p.Std.pageOf(p.Std.Err), Wrong, "understudy:"), text)
}

package terminal

import (
	"io"
	"os"

	"golang.org/x/term"
)

// page is where results are shown: how wide, and whether in colours.
type page struct {
	io.Writer
	columns int  // 0: as wide as it gets
	strict  bool // words are broken rather than that a line is longer
	colours bool
}

// pageOf is a stream as a page. A stream that is no terminal has neither colours nor an
// edge: what reads it is a program.
func (s Streams) pageOf(w io.Writer) io.Writer {
	f, ok := w.(*os.File)
	if !ok || !IsTerminal(f) {
		return w
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		columns = 0
	}
	return &page{Writer: w, columns: columns, colours: s.coloured()}
}

// Redraws reports whether what stands on w can be drawn over: on a terminal that knows how.
func (s Streams) Redraws(w io.Writer) bool {
	if s.Lookup == nil || !IsTerminal(w) {
		return false
	}
	kind, _ := s.Lookup("TERM")
	return kind != "dumb"
}

// coloured reports whether the environment lets a terminal have colours: no-color.org
// says how somebody asks for none.
func (s Streams) coloured() bool {
	if s.Lookup == nil {
		return false
	}
	if none, _ := s.Lookup("NO_COLOR"); none != "" {
		return false
	}
	kind, _ := s.Lookup("TERM")
	return kind != "" && kind != "dumb"
}

// Page is w as one of so many columns, without colours.
func Page(w io.Writer, columns int) io.Writer { return &page{Writer: w, columns: columns} }

// Within is w, of which no line is longer than so many columns, whatever is in it. What
// has no edge keeps none: a program looks for sentences as they are.
func Within(w io.Writer, columns int) io.Writer {
	p, ok := w.(*page)
	if !ok {
		return w
	}
	narrow := *p
	narrow.strict = true
	if p.columns == 0 || p.columns > columns {
		narrow.columns = columns
	}
	return &narrow
}

func isStrict(w io.Writer) bool {
	p, ok := w.(*page)
	return ok && p.strict
}

func columnsOf(w io.Writer) int {
	if p, ok := w.(*page); ok {
		return p.columns
	}
	return 0
}

// Kind is what a colour means.
type Kind int

// Kinds, each with the colour that people expect.
const (
	Plain Kind = iota
	Good       // green
	Known      // yellow: to be known, and not wrong
	Wrong      // red: to be looked at
)

var escapes = map[Kind]string{Good: "\x1b[32m", Known: "\x1b[33m", Wrong: "\x1b[1;31m"}

// Paint is a text as w shows it.
func Paint(w io.Writer, kind Kind, text string) string {
	if p, ok := w.(*page); !ok || !p.colours || kind == Plain || text == "" {
		return text
	}
	return escapes[kind] + text + "\x1b[0m"
}

// Cell is one of a table that means something.
type Cell struct {
	Text string
	Kind Kind
}

// String is the text.
func (c Cell) String() string { return c.Text }

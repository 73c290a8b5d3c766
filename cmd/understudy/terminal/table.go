package terminal

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// gap is between two columns.
const gap = 2

// How narrow a column is made to have a table fit: one whose words stay whole, so that an
// id can be copied, and one where nothing may be longer than the page.
const (
	fairColumn  = 24
	leastColumn = 8
)

// Table prints rows under headings. On a page with an edge what is too long goes on below.
func Table(w io.Writer, headings []any, rows [][]any) {
	table := append([][]any{headings}, rows...)
	widths, fair, least := make([]int, len(headings)), make([]int, len(headings)), make([]int, len(headings))
	for _, row := range table {
		for i, cell := range row {
			text := fmt.Sprint(cell)
			widths[i] = max(widths[i], longest(strings.Split(text, "\n")))
			fair[i], least[i] = max(fair[i], fairColumn, longest(strings.Fields(text))), leastColumn
		}
	}
	narrow(widths, fair, columnsOf(w))
	if isStrict(w) {
		narrow(widths, least, columnsOf(w))
	}
	for _, row := range table {
		tableRow(w, row, widths)
	}
}

func longest(parts []string) (n int) {
	for _, part := range parts {
		n = max(n, utf8.RuneCountInString(part))
	}
	return n
}

// narrow makes the widest columns narrower, until the table fits, or all are as narrow as
// they may be.
func narrow(widths, least []int, columns int) {
	over := gap*(len(widths)-1) - columns
	for _, n := range widths {
		over += n
	}
	for columns > 0 && over > 0 {
		widest := -1
		for i, n := range widths {
			if n > least[i] && (widest < 0 || n > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return
		}
		widths[widest]--
		over--
	}
}

func tableRow(w io.Writer, row []any, widths []int) {
	cells, height := make([][]string, len(row)), 1
	for i, cell := range row {
		cells[i] = wrap(fmt.Sprint(cell), widths[i])
		height = max(height, len(cells[i]))
	}
	for at := range height {
		var line strings.Builder
		pad := 0
		for i, cell := range row {
			text := ""
			if at < len(cells[i]) {
				text = cells[i][at]
			}
			if text != "" {
				line.WriteString(strings.Repeat(" ", pad) + Paint(w, kindOf(cell), text))
				pad = 0
			}
			pad += widths[i] - utf8.RuneCountInString(text) + gap
		}
		fmt.Fprintln(w, line.String())
	}
}

func kindOf(cell any) Kind {
	if c, ok := cell.(Cell); ok {
		return c.Kind
	}
	return Plain
}

// labelled is how wide the label of a fact is.
const labelled = 10

// Facts writes one line for each thing that there is something to say about.
func Facts(w io.Writer, lines [][2]string) {
	for _, l := range lines {
		Fact(w, Plain, l[0], l[1])
	}
}

// Fact writes a line of Facts.
func Fact(w io.Writer, kind Kind, label, text string) {
	if text != "" {
		Hanging(w, kind, fmt.Sprintf("%-*s ", labelled, label), text)
	}
}

// Hanging writes a text after a mark, below which it goes on where the page has an edge.
func Hanging(w io.Writer, kind Kind, mark, text string) {
	indent := utf8.RuneCountInString(mark)
	room := 0
	if n := columnsOf(w); n > 0 {
		room = max(n-indent, leastColumn)
	}
	for i, line := range wrap(text, room) {
		if i > 0 {
			mark = strings.Repeat(" ", indent)
		}
		fmt.Fprintln(w, strings.TrimRight(mark+Paint(w, kind, line), " "))
	}
}

// wrap breaks a text into lines of so many columns (0: any), between words where that
// can be done.
func wrap(text string, columns int) (lines []string) {
	for line := range strings.SplitSeq(text, "\n") {
		for columns > 0 && utf8.RuneCountInString(line) > columns {
			runes := []rune(line)
			end := columns
			for i := columns; i > 0; i-- {
				if runes[i] == ' ' {
					end = i
					break
				}
			}
			lines = append(lines, strings.TrimRight(string(runes[:end]), " "))
			line = strings.TrimLeft(string(runes[end:]), " ")
		}
		lines = append(lines, line)
	}
	return lines
}

// Indented is a text with each line set off from the left.
func Indented(text string) string { return "  " + strings.ReplaceAll(text, "\n", "\n  ") }

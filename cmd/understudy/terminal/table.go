package terminal

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Table prints rows under headings.
func Table(w io.Writer, headings []any, rows [][]any) {
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

// Facts writes one line for each thing that there is something to say about.
func Facts(w io.Writer, lines [][2]string) {
	for _, l := range lines {
		if l[1] != "" {
			fmt.Fprintf(w, "%-10s %s\n", l[0], l[1])
		}
	}
}

// Indented is a text with each line set off from the left.
func Indented(text string) string { return "  " + strings.ReplaceAll(text, "\n", "\n  ") }

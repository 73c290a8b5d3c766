package compare

import (
	"crypto/sha256"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// TestRowsAreComparedAsMultisets: the order of rows says nothing, and their number does.
func TestRowsAreComparedAsMultisets(t *testing.T) {
	tables := newRowTables()
	read := func(script string) *rowBag {
		bag, err := newRowBag(filepath.Join(t.TempDir(), "bag"))
		sourcetest.Must(t, err)
		p := rowParser{tables: tables, bag: bag, row: sha256.New()}
		sourcetest.Must(t, eachLine(strings.NewReader(script), p.line))
		sourcetest.Must(t, bag.close())
		return bag
	}
	long := strings.Repeat("x", 300<<10)
	a := read("COPY s.t (x) FROM stdin;\none\ntwo\ntwo\n\\.\nCOPY s.same (x) FROM stdin;\n" + long + "\nb\n\\.\nSELECT pg_catalog.setval('s.q', 1, true);\n")
	b := read("COPY s.same (x) FROM stdin;\nb\n" + long + "\n\\.\nCOPY s.t (x) FROM stdin;\ntwo\none\nthree\n\\.\nSELECT pg_catalog.setval('s.q', 2, true);\n")
	got, err := compareBags(t.Context(), tables, a, b)
	sourcetest.Must(t, err)
	want := []source.TableDifference{
		{Name: "(sequences)", RowsA: 1, RowsB: 1, OnlyA: 1, OnlyB: 1},
		{Name: "s.t", RowsA: 3, RowsB: 3, OnlyA: 1, OnlyB: 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

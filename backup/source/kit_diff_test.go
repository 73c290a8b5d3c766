package source

import (
	"os"
	"testing"
)

// side backs a source up, and gives that as one side of a comparison.
func (s *shelf) side(t testing.TB, src Source) Side {
	t.Helper()
	e, _ := s.backup(t, src)
	return Side{Entry: e, Reader: s.reader()}
}

// compared compares two sides of one shelf, and gives the changes too.
func compared(t testing.TB, a, b Side, sameKeys bool) (Difference, []Change) {
	t.Helper()
	var changes []Change
	scratch := t.TempDir()
	d, err := Compare(t.Context(), a, b, CompareOptions{SameKeys: sameKeys, Scratch: scratch, Found: func(c Change) error {
		changes = append(changes, c)
		return nil
	}})
	must(t, err)
	if left, err := os.ReadDir(scratch); err != nil || len(left) > 0 {
		t.Errorf("left in the scratch folder: %v %v", left, err)
	}
	return d, changes
}

// lastSide is the last backup.
func (s *shelf) lastSide() Side { return Side{Entry: s.prev.Entry, Reader: s.prev.Reader} }

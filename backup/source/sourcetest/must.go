package sourcetest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/understudy-ha/understudy/backup/source"
)

// Must fails the test on an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// StopAfter makes a fault that stops a swap after its n-th step, and a
// function that tells whether it did.
func StopAfter(n int) (fault func(string) error, stopped func() bool) {
	steps := 0
	return func(step string) error {
		if steps++; steps == n {
			return fmt.Errorf("stopped after step %d, %q", n, step)
		}
		return nil
	}, func() bool { return steps >= n }
}

// MustFail fails the test unless err holds every one of the texts.
func MustFail(t testing.TB, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("succeeded, wanted an error with %q", texts)
	}
	for _, text := range texts {
		if !bytes.Contains([]byte(err.Error()), []byte(text)) {
			t.Errorf("error %q does not say %q", err, text)
		}
	}
}

// MustSweep deletes what a source has set aside, all of it.
func MustSweep(t *testing.T, s source.Sweeper) {
	t.Helper()
	if left, err := s.Sweep(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("after a sweep %v is left: %v", left, err)
	}
}

// Export writes the last backup's database to a new file.
func Export(t testing.TB, v *Vault, e source.Entry) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "exported.db")
	Must(t, source.Export(t.Context(), v.Reader(), e, path))
	return path
}

// ReadText reads a file.
func ReadText(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	Must(t, err)
	return string(b)
}

// Compared compares two sides of one vault, and gives the changes too.
func Compared(t testing.TB, a, b source.Side, sameKeys bool) (source.Difference, []source.Change) {
	t.Helper()
	var changes []source.Change
	scratch := t.TempDir()
	d, err := source.Compare(t.Context(), a, b, source.CompareOptions{SameKeys: sameKeys, Scratch: scratch, Found: func(c source.Change) error {
		changes = append(changes, c)
		return nil
	}})
	Must(t, err)
	if left, err := os.ReadDir(scratch); err != nil || len(left) > 0 {
		t.Errorf("left in the scratch folder: %v %v", left, err)
	}
	return d, changes
}

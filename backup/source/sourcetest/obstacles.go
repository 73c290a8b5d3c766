package sourcetest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/source"
)

// Obstacle is something that keeps a source from being swapped.
type Obstacle struct {
	Name  string
	Src   func(t *testing.T, path string) source.Source
	Locks string // beside path, or below it
	Flags int
	Want  string // "": it can be restored
	Lasts string
}

// CheckObstaclesOf holds sources to saying what a swap could not rename, with what
// to do, and what it could not delete.
func CheckObstaclesOf(t *testing.T, all []Obstacle) {
	t.Helper()
	for _, it := range all {
		t.Run(it.Name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "app", "state")
			Must(t, os.Mkdir(filepath.Dir(path), 0o755))
			src := it.Src(t, path)
			Must(t, source.CheckRestore(t.Context(), src))
			Flagged(t, filepath.Join(path, it.Locks), it.Flags)
			err := source.CheckRestore(t.Context(), src)
			if it.Want == "" && err != nil || it.Want != "" && (err == nil || !strings.Contains(err.Error(), it.Want)) {
				t.Errorf("the error is %v, want %q", err, it.Want)
			}
			if it.Want != "" {
				return
			}
			lasting, err := source.Lasting(t.Context(), src)
			if err != nil || strings.Join(lasting, ", ") != it.Lasts {
				t.Errorf("lasting: %q, %v, want %q", lasting, err, it.Lasts)
			}
		})
	}
}

package source

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// obstacle is something that keeps a source from being swapped.
type obstacle struct {
	name  string
	src   func(t *testing.T, path string) Source
	locks string // beside path, or below it
	flags int
	want  string // "": it can be restored
	lasts string
}

// checkObstaclesOf holds sources to saying what a swap could not rename, with what
// to do, and what it could not delete.
func checkObstaclesOf(t *testing.T, all []obstacle) {
	t.Helper()
	for _, it := range all {
		t.Run(it.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "app", "state")
			do(t, os.Mkdir(filepath.Dir(path), 0o755))
			src := it.src(t, path)
			do(t, CheckRestore(t.Context(), src))
			flagged(t, filepath.Join(path, it.locks), it.flags)
			err := CheckRestore(t.Context(), src)
			if it.want == "" && err != nil || it.want != "" && (err == nil || !strings.Contains(err.Error(), it.want)) {
				t.Errorf("the error is %v, want %q", err, it.want)
			}
			if it.want != "" {
				return
			}
			lasting, err := Lasting(t.Context(), src)
			if err != nil || strings.Join(lasting, ", ") != it.lasts {
				t.Errorf("lasting: %q, %v, want %q", lasting, err, it.lasts)
			}
		})
	}
}

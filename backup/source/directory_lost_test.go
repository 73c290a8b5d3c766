package source

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestADirectoryThatLostHalfOfItsFilesIsTold(t *testing.T) {
	for _, tt := range []struct {
		before, after int
		told          bool
	}{{100, 50, false}, {100, 49, true}, {100, 0, true}, {99, 0, false}, {0, 100, false}} {
		dir := t.TempDir()
		d, v := newTestDirectory(t, dir), newVault(t)
		for i := range tt.before {
			do(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), []byte("x"), 0o644))
		}
		was, _ := v.mustBackup(d)
		for i := range tt.before {
			if i >= tt.after {
				do(t, os.Remove(filepath.Join(dir, fmt.Sprint(i))))
			}
		}
		is, _ := v.mustBackup(d)
		text := Lost(was, is)
		if (text != "") != tt.told {
			t.Errorf("%d, then %d: %q", tt.before, tt.after, text)
		}
		if tt.told && (!strings.Contains(text, fmt.Sprintf("had %d files", tt.before)) || !strings.Contains(text, fmt.Sprintf("has %d", tt.after))) {
			t.Errorf("%d, then %d: %q", tt.before, tt.after, text)
		}
		if n, err := Holds(t.Context(), d); err != nil || n != Held(is) && tt.before > 0 {
			t.Errorf("it holds %q (%v), the backup %q", n, err, Held(is))
		}
	}
}

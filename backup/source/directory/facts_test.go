package directory

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

func TestADirectoryThatLostHalfOfItsFilesIsTold(t *testing.T) {
	for _, tt := range []struct {
		before, after int
		told          bool
	}{{100, 50, false}, {100, 49, true}, {100, 0, true}, {99, 0, false}, {0, 100, false}} {
		dir := t.TempDir()
		d, v := newTestDirectory(t, dir), sourcetest.NewVault(t)
		for i := range tt.before {
			sourcetest.Must(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), []byte("x"), 0o644))
		}
		was, _ := v.Backup(t, d)
		for i := range tt.before {
			if i >= tt.after {
				sourcetest.Must(t, os.Remove(filepath.Join(dir, fmt.Sprint(i))))
			}
		}
		is, _ := v.Backup(t, d)
		text := source.Lost(was, is)
		if (text != "") != tt.told {
			t.Errorf("%d, then %d: %q", tt.before, tt.after, text)
		}
		if tt.told && (!strings.Contains(text, fmt.Sprintf("had %d files", tt.before)) || !strings.Contains(text, fmt.Sprintf("has %d", tt.after))) {
			t.Errorf("%d, then %d: %q", tt.before, tt.after, text)
		}
		if n, err := source.Holds(t.Context(), d); err != nil || n != source.Held(is) && tt.before > 0 {
			t.Errorf("it holds %q (%v), the backup %q", n, err, source.Held(is))
		}
	}
}

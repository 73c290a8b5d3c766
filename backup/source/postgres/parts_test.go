package postgres

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// TestNotesOfOtherStagesGo: the notes of one stage stay, and so does what is no note.
func TestNotesOfOtherStagesGo(t *testing.T) {
	n := &notes{dir: t.TempDir()}
	for _, path := range []string{n.roles(1), n.roles(2), n.left(1), n.left(2), n.replacedRoles(), n.archive()} {
		sourcetest.Must(t, os.WriteFile(path, []byte("{}"), 0o600))
	}
	sourcetest.Must(t, n.drop(n.roles(2), n.left(2)))
	all, err := filepath.Glob(filepath.Join(n.dir, "*"))
	sourcetest.Must(t, err)
	if diff := cmp.Diff([]string{n.archive(), n.left(2), n.roles(2)}, all); diff != "" {
		t.Error(diff)
	}
}

// TestStandInsAreNamedAfterTheirDatabase: names are of a length that the server takes, and
// those of two databases differ.
func TestStandInsAreNamedAfterTheirDatabase(t *testing.T) {
	seen := map[string]bool{}
	for _, called := range []string{"app", strings.Repeat("ä", 31) + "1", strings.Repeat("ä", 31) + "2"} {
		d := &database{called: called}
		for _, name := range []string{d.staged(), d.staging(), d.outdated(), d.replaced(), d.absent(), d.dropped(1), d.dropped(2), d.kept(1), d.restorer(20)} {
			if len(name) > maxName || seen[name] {
				t.Errorf("%q", name)
			}
			seen[name] = true
		}
	}
	d := &database{called: "app"}
	s := &swapper{db: d}
	for kept, want := range map[string]bool{
		keptPrefix + d.kept(3): true, keptPrefix + d.staged(): false, d.kept(3): false, keptPrefix + "other_understudy_kept_3": false,
	} {
		if got := s.keeps(kept); got != want {
			t.Errorf("%q is kept: %t", kept, got)
		}
	}
}

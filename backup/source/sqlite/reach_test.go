package sqlite

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

func TestHowFarASwapOfADatabaseFileHasComeIsSeen(t *testing.T) { sourcetest.ReachSeen(t, reachedBank) }

func TestNothingIsKeptOfADatabaseFileThatWasNotThere(t *testing.T) {
	sourcetest.KeepsNothing(t, reachedBank(t))
}

func reachedBank(t *testing.T) sourcetest.Reached {
	path := filepath.Join(t.TempDir(), "app.db")
	src := newSQLite(t, path)
	r := sourcetest.ReachedFile(t, src, path, &src.Fault)
	r.Write = func(text string) {
		sourcetest.Must(t, os.RemoveAll(path))
		db := sourcetest.NewBank(t, path, "delete", len(text))
		sourcetest.Must(t, db.Close())
	}
	r.Read = func(at string) string {
		if at == "" {
			at = path
		}
		db := sourcetest.OpenBank(t, at, "delete")
		defer db.Close()
		return strings.Repeat("x", sourcetest.Transfers(t, db))
	}
	return r
}

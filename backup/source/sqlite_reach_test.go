package source

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestHowFarASwapOfADatabaseFileHasComeIsSeen(t *testing.T) { reachSeen(t, reachedBank) }

func TestNothingIsKeptOfADatabaseFileThatWasNotThere(t *testing.T) { keepsNothing(t, reachedBank(t)) }

func reachedBank(t *testing.T) reached {
	path := filepath.Join(t.TempDir(), "app.db")
	src := newSQLite(t, path)
	r := reachedFile(t, src, path, &src.fault)
	r.write = func(text string) {
		must(t, os.RemoveAll(path))
		db := newBank(t, path, "delete", len(text))
		must(t, db.Close())
	}
	r.read = func(at string) string {
		if at == "" {
			at = path
		}
		db := openBank(t, at, "delete")
		defer db.Close()
		return strings.Repeat("x", transfers(t, db))
	}
	return r
}

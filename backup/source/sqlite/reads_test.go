package sqlite

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// TestCheckFindsADatabaseThatMayNotBeRead, nor what lies beside it: it begins a
// transaction, so that doctor needs no preview.
func TestCheckFindsADatabaseThatMayNotBeRead(t *testing.T) {
	dir, found := sourcetest.AsNobody(t, func(dir string) error {
		s, err := New("db", Config{Path: filepath.Join(dir, "app.db"), Scratch: filepath.Join(dir, "scratch")})
		if err != nil {
			return err
		}
		return s.Check(t.Context())
	})
	path := filepath.Join(dir, "app.db")
	sourcetest.Must(t, os.Chmod(dir, 0o777))
	db := sourcetest.NewBank(t, path, "wal", 10)
	defer db.Close()
	for _, side := range []string{"", "-wal", "-shm"} {
		sourcetest.Must(t, os.Chmod(path+side, 0o666))
	}
	if got := found(); got != "<nil>" {
		t.Errorf("it may be read: %s", got)
	}
	for _, side := range []string{"-wal", ""} {
		sourcetest.Must(t, os.Chmod(path+side, 0o600))
		if got := found(); !strings.HasSuffix(got, "this user may not read and write "+path+side+": permission denied") {
			t.Errorf("app.db%s may not be read: %s", side, got)
		}
		sourcetest.Must(t, os.Chmod(path+side, 0o666))
	}
}

package sqlite

import (
	"path/filepath"
	"testing"

	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// TestSQLiteApplicationProcess is no test: it is the application, when the
// test binary is started as one.
func TestSQLiteApplicationProcess(t *testing.T) { sourcetest.RunApplication(t) }

func TestSQLiteDumpIsConsistentWhileAnotherProcessWrites(t *testing.T) {
	for _, journal := range []string{"wal", "delete"} {
		t.Run(journal, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.db")
			sourcetest.Must(t, sourcetest.NewBank(t, path, journal, 4000).Close())
			src, s := newSQLite(t, path), sourcetest.NewVault(t)
			app := sourcetest.StartApplication(t, path, "write")
			last := 0
			for range 5 {
				e, _ := s.Backup(t, src)
				n := sourcetest.CheckBank(t, sourcetest.Export(t, s, e))
				if n <= last {
					t.Errorf("%d transfers, and %d before", n, last)
				}
				last = n
			}
			wrote := app.Stop(t)
			e, _ := s.Backup(t, src)
			if n := sourcetest.CheckBank(t, sourcetest.Export(t, s, e)); n != 4000+wrote {
				t.Errorf("%d transfers, of %d", n, 4000+wrote)
			}
		})
	}
}

// Restoring while the database's folder has the leftovers of a killed
// application.
func TestSQLiteDumpRollsBackWhatAKilledProcessLeft(t *testing.T) {
	for _, journal := range []string{"wal", "delete"} {
		t.Run(journal, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.db")
			sourcetest.Must(t, sourcetest.NewBank(t, path, journal, 4000).Close())
			before := sourcetest.ReadText(t, path)
			app := sourcetest.StartApplication(t, path, "die")
			sourcetest.Must(t, app.Cmd.Process.Kill())
			_ = app.Cmd.Wait()
			if journal == "delete" && sourcetest.ReadText(t, path) == before {
				t.Fatal("the killed transaction has written nothing: the test is worth nothing")
			}
			src, s := newSQLite(t, path), sourcetest.NewVault(t)
			e, _ := s.Backup(t, src)
			if n := sourcetest.CheckBank(t, sourcetest.Export(t, s, e)); n != 4000 {
				t.Errorf("%d transfers", n)
			}
		})
	}
}

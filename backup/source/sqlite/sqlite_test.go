package sqlite

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

func newSQLite(t testing.TB, path string) *Source {
	t.Helper()
	s, err := New("prefs", Config{Path: path, Scratch: filepath.Join(t.TempDir(), "scratch")})
	sourcetest.Must(t, err)
	return s
}

func TestSQLiteDumpIsTheFilePageForPage(t *testing.T) {
	for _, journal := range []string{"wal", "delete", "truncate", "persist"} {
		t.Run(journal, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a #1?%.db")
			sourcetest.Must(t, sourcetest.NewBank(t, path, journal, 5000).Close())
			src, s := newSQLite(t, path), sourcetest.NewVault(t)
			sourcetest.Must(t, src.Check(t.Context()))
			e, _ := s.Backup(t, src)
			want, got := sourcetest.ReadText(t, path), sourcetest.ReadText(t, sourcetest.Export(t, s, e))
			if got != want {
				t.Errorf("%d bytes exported differ from the %d of the file", len(got), len(want))
			}
			var facts Facts
			sourcetest.Must(t, json.Unmarshal(e.Facts, &facts))
			wantMode := map[bool]string{true: "wal", false: "delete"}[journal == "wal"]
			if facts.UserVersion != 7 || facts.Size != e.Size || facts.PageSize*facts.PageCount != e.Size || facts.JournalMode != wantMode || facts.Mode != 0o644 {
				t.Errorf("facts %+v", facts)
			}
			if left, _ := os.ReadDir(src.scratch); len(left) > 0 {
				t.Errorf("left in the scratch folder: %v", left)
			}
		})
	}
}

func TestSQLiteUnchangedIsKeptAndLittleChangeIsLittleData(t *testing.T) {
	for _, journal := range []string{"wal", "delete"} {
		t.Run(journal, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.db")
			db := sourcetest.NewBank(t, path, journal, 6000) // stays open, as an application's would
			src, s := newSQLite(t, path), sourcetest.NewVault(t)
			first, _ := s.Backup(t, src)
			print, err := Fingerprint(sourcetest.Placed(t, path))
			sourcetest.Must(t, err)
			for range 2 {
				again, stats := s.Backup(t, src)
				if stats.New != 0 || fmt.Sprint(again.Root) != fmt.Sprint(first.Root) {
					t.Errorf("unchanged database: %d new bytes", stats.New)
				}
				if now, err := Fingerprint(sourcetest.Placed(t, path)); err != nil || now != print {
					t.Errorf("a backup itself looks like a change, and has the next one read all again (%v)", err)
				}
			}
			sourcetest.Must(t, sourcetest.Transfer(db, 3, 4))
			changed, stats := s.Backup(t, src)
			if stats.New == 0 || stats.New > first.Size/4 {
				t.Errorf("%d new bytes of %d after one transfer", stats.New, first.Size)
			}
			if got := sourcetest.CheckBank(t, sourcetest.Export(t, s, changed)); got != 6001 {
				t.Errorf("%d transfers", got)
			}
		})
	}
}

func TestSQLiteFingerprintChangesWithEveryCommit(t *testing.T) {
	for _, journal := range []string{"wal", "delete"} {
		path := filepath.Join(t.TempDir(), "a.db")
		db := sourcetest.NewBank(t, path, journal, 1)
		seen := map[string]bool{}
		for i := range 300 {
			sourcetest.Must(t, sourcetest.Transfer(db, i%sourcetest.Accounts+1, 1))
			print, err := Fingerprint(sourcetest.Placed(t, path))
			sourcetest.Must(t, err)
			if seen[print] {
				t.Fatalf("%s: commit %d did not change the fingerprint", journal, i)
			}
			seen[print] = true
			if i%100 == 50 && journal == "wal" { // the WAL begins anew
				_, err := db.Exec("PRAGMA wal_checkpoint(RESTART)")
				sourcetest.Must(t, err)
			}
		}
	}
}

func TestSQLiteMissingFileIsAClearError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.db")
	src := newSQLite(t, path)
	_, _, err := sourcetest.NewVault(t).TryBackup(t.Context(), src)
	sourcetest.MustFail(t, err, "dump prefs", "there is no database at "+path, "check the path")
	if there, _ := fsx.Exists(path); there {
		t.Error("the dump made the file")
	}
	sourcetest.MustFail(t, src.Check(t.Context()), "there is no database at "+path)
	sourcetest.Must(t, src.CheckRestore(t.Context())) // a standby has none yet
}

func TestSQLiteRefusesWhatIsNoDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "text.db")
	sourcetest.Must(t, os.WriteFile(path, bytes.Repeat([]byte("not a database\n"), 1000), 0o600))
	src := newSQLite(t, path)
	_, _, err := sourcetest.NewVault(t).TryBackup(t.Context(), src)
	sourcetest.MustFail(t, err, "open database "+path, "not a database")
	sourcetest.MustFail(t, src.Check(t.Context()), "not a database")
}

func TestSQLiteConfigIsChecked(t *testing.T) {
	_, err := New("prefs", Config{Scratch: "x"})
	sourcetest.MustFail(t, err, "source prefs", "path is missing")
	_, err = New("prefs", Config{Path: "x"})
	sourcetest.MustFail(t, err, "source prefs", "scratch folder is missing")
}

func TestSQLiteEmptyDatabaseIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "empty.db")
	sourcetest.Must(t, os.WriteFile(path, nil, 0o600))
	src, s := newSQLite(t, path), sourcetest.NewVault(t)
	e, _ := s.Backup(t, src)
	s.Stage(t, src, e)
	sourcetest.Must(t, src.Swap(t.Context()))
	sourcetest.Must(t, src.Discard(t.Context()))
	if got := sourcetest.ReadText(t, path); got != "" {
		t.Errorf("%d bytes", len(got))
	}
}

// A damaged database is not put into place.
func TestSQLiteStageChecksIntegrity(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	sourcetest.Must(t, sourcetest.NewBank(t, path, "delete", 5000).Close())
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	sourcetest.Must(t, err)
	_, err = f.WriteAt(bytes.Repeat([]byte{0xff}, 4096), 20*4096)
	sourcetest.Must(t, err)
	sourcetest.Must(t, f.Close())
	src, s := newSQLite(t, path), sourcetest.NewVault(t)
	e, _ := s.Backup(t, src)
	sourcetest.MustFail(t, src.Stage(t.Context(), s.Reader(), e), "stage prefs", "is damaged, and was so when it was backed up")
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*understudy*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	sourcetest.MustFail(t, src.Swap(t.Context()), "nothing is staged")
}

// Indexes that only the application can order do not stand in the way.
func TestSQLiteStageTakesAnUnknownCollation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	db := sourcetest.OpenBank(t, path, "delete")
	db.SetMaxOpenConns(1)
	for _, stmt := range []string{
		"CREATE TABLE t (a TEXT COLLATE NOCASE)", "CREATE INDEX i ON t (a)", "INSERT INTO t VALUES ('x')",
		"PRAGMA writable_schema = on",
		"UPDATE sqlite_schema SET sql = replace(sql, 'NOCASE', 'KLINGON')",
	} {
		_, err := db.Exec(stmt)
		sourcetest.Must(t, err)
	}
	sourcetest.Must(t, db.Close())
	src, s := newSQLite(t, path), sourcetest.NewVault(t)
	e, _ := s.Backup(t, src)
	s.Stage(t, src, e)
}

func TestSQLiteKeepsModeAndMakesTheFolder(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.db")
	sourcetest.Must(t, sourcetest.NewBank(t, path, "wal", 1).Close())
	sourcetest.Must(t, os.Chmod(path, 0o660))
	if os.Geteuid() == 0 {
		sourcetest.Must(t, os.Chown(path, 1234, 5678))
	}
	s := sourcetest.NewVault(t)
	e, _ := s.Backup(t, newSQLite(t, path))
	elsewhere := filepath.Join(dir, "srv", "app", "b.db")
	src := newSQLite(t, elsewhere)
	if folder, n := src.Space(e); folder != filepath.Dir(elsewhere) || n != e.Size {
		t.Errorf("space %s %d", folder, n)
	}
	s.Stage(t, src, e)
	sourcetest.Must(t, src.Swap(t.Context()))
	sourcetest.Must(t, src.Discard(t.Context()))
	for _, p := range []string{path, elsewhere} {
		var st unix.Stat_t
		sourcetest.Must(t, unix.Stat(p, &st))
		if os.Geteuid() == 0 && (st.Uid != 1234 || st.Gid != 5678) || st.Mode&0o777 != 0o660 {
			t.Errorf("%s: mode %o, owner %d:%d", p, st.Mode, st.Uid, st.Gid)
		}
	}
}

func TestSQLitePageReaderCrossesPages(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	sourcetest.Must(t, sourcetest.NewBank(t, path, "delete", 100).Close())
	snap, err := openSnapshot(t.Context(), sourcetest.Placed(t, path))
	sourcetest.Must(t, err)
	defer snap.Close()
	pages, err := snap.pages(t.Context())
	sourcetest.Must(t, err)
	var got strings.Builder
	buf := make([]byte, 1000)
	for {
		n, err := pages.Read(buf)
		got.Write(buf[:n])
		if err != nil {
			break
		}
	}
	sourcetest.Must(t, pages.Close())
	if got.String() != sourcetest.ReadText(t, path) {
		t.Error("pages differ from the file")
	}
}

var _ pack.Packs = (*sourcetest.Vault)(nil)

package source

import (
	"context"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/e2e/server"
)

// blank is a source on a host where the application never ran, and its twin on
// the host that dumps.
type blank struct {
	dumped, here Source
	target       string
}

// newBlanks makes sources below srv/app, which is the application's own folder
// where they are dumped, and missing here.
func newBlanks(t *testing.T) map[string]blank {
	t.Helper()
	a, b := t.TempDir(), t.TempDir()
	app := filepath.Join(a, "srv", "app")
	do(t, os.MkdirAll(filepath.Join(app, "files"), 0o755))
	do(t, os.WriteFile(filepath.Join(app, "files", "x"), []byte("content"), 0o640))
	must(t, newBank(t, filepath.Join(app, "bank.db"), "wal", 3).Close())
	if os.Geteuid() == 0 {
		do(t, os.Chown(app, 1234, 5678))
	}
	do(t, unix.Chmod(app, 0o2750))
	at := func(root, name string) string { return filepath.Join(root, "srv", "app", name) }
	return map[string]blank{
		"directory": {newTestDirectory(t, at(a, "files")), newTestDirectory(t, at(b, "files")), at(b, "files")},
		"sqlite":    {newSQLite(t, at(a, "bank.db")), newSQLite(t, at(b, "bank.db")), at(b, "bank.db")},
	}
}

func TestABlankHostGetsTheFoldersAbove(t *testing.T) {
	for _, kind := range []string{"directory", "sqlite"} {
		t.Run(kind, func(t *testing.T) {
			it := newBlanks(t)[kind]
			v := newVault(t)
			e, _ := v.mustBackup(it.dumped)
			do(t, CheckRestore(t.Context(), it.here))
			if err := it.here.Check(t.Context()); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("it could be dumped here: %v", err)
			}
			do(t, it.here.SwapBack(t.Context())) // before there is anything
			do(t, it.here.Discard(t.Context()))
			do(t, it.here.Stage(t.Context(), v.last(), e))
			app := filepath.Dir(it.target)
			var st unix.Stat_t
			do(t, unix.Stat(app, &st))
			if st.Mode&0o7777 != 0o2750 || os.Geteuid() == 0 && (st.Uid != 1234 || st.Gid != 5678) {
				t.Errorf("the folder has mode %o, owner %d:%d", st.Mode, st.Uid, st.Gid)
			}
			do(t, it.here.Swap(t.Context()))
			do(t, it.here.SwapBack(t.Context()))
			if there, err := exists(it.target); there || err != nil {
				t.Errorf("after the rollback it is there: %v, %v", there, err)
			}
			left, err := filepath.Glob(filepath.Join(app, "[^.]*")) // what was dropped is hidden, and deleted later
			if len(left) > 0 || err != nil {
				t.Errorf("after the rollback %v is left: %v", left, err)
			}
			for _, step := range []func(context.Context) error{
				func(ctx context.Context) error { return it.here.Stage(ctx, v.last(), e) }, it.here.Swap, it.here.Discard, it.here.Check,
			} {
				do(t, step(t.Context()))
			}
		})
	}
}

// A backup of an earlier version does not describe the folders above.
func TestABlankHostNeedsNoModelsOfTheFoldersAbove(t *testing.T) {
	target := filepath.Join(t.TempDir(), "a", "b", "x")
	makeAt := func(path string, models []parent) error {
		p, err := fsx.Resolve(path)
		if err != nil {
			return err
		}
		defer func() { p.Close() }()
		return makeParents(&p, models)
	}
	do(t, makeAt(target, nil))
	do(t, makeAt(target, []parent{{Name: "b", Mode: 0o700}})) // which is there
	var st unix.Stat_t
	do(t, unix.Stat(filepath.Dir(target), &st))
	if st.Mode&0o7777 != 0o755 || int(st.Uid) != os.Geteuid() {
		t.Errorf("mode %o, owner %d", st.Mode, st.Uid)
	}
	do(t, os.WriteFile(target, nil, 0o600))
	if err := makeAt(filepath.Join(target, "y", "z"), nil); err == nil {
		t.Error("a folder was made in a file")
	}
}

// What a symlink leads into is taken for a file system that is not mounted.
func TestNothingIsMadeWhereASymlinkLeads(t *testing.T) {
	dir := t.TempDir()
	do(t, os.Symlink(filepath.Join(dir, "volume"), filepath.Join(dir, "link")))
	do(t, os.Symlink(filepath.Join(dir, "volume", "files"), filepath.Join(dir, "files")))
	for _, path := range []string{"link/files", "link/a/b", "files"} {
		d := newTestDirectory(t, filepath.Join(dir, path))
		if err := d.CheckRestore(t.Context()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", path, err)
		}
		if err := d.Stage(t.Context(), nil, Entry{}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("stage %s: %v", path, err)
		}
	}
	if there, err := exists(filepath.Join(dir, "volume")); there || err != nil {
		t.Errorf("it was made: %v, %v", there, err)
	}
}

// A new server has neither the database nor the application's role.
func TestABlankServerTakesOverOrSaysWhatToRun(t *testing.T) {
	srv := server.Postgres(t)
	as := func(user string) string {
		u, err := url.Parse(srv.DSN("app"))
		must(t, err)
		u.User = url.User(user)
		return u.String()
	}
	source := func(admin string) *Postgres {
		p, err := NewPostgres("db", PostgresConfig{URL: as("newcomer"), AdminURL: admin, Scratch: filepath.Join(t.TempDir(), "scratch")})
		must(t, err)
		return p
	}
	alone, withAdmin := source(""), source(srv.DSN("postgres"))
	mustFail(t, CheckRestore(t.Context(), alone), "admin_url", `CREATE ROLE "newcomer" LOGIN CREATEDB CREATEROLE`, `GRANT pg_signal_backend TO "newcomer"`)
	must(t, CheckRestore(t.Context(), withAdmin))
	if err := withAdmin.Check(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it could be dumped here: %v", err)
	}
	sqlIn(t, srv.DSN("postgres"), "CREATE DATABASE app")
	must(t, CheckRestore(t.Context(), withAdmin)) // the role is still to be made
	mustFail(t, withAdmin.Check(t.Context()), "check url", "newcomer")
	sqlIn(t, srv.DSN("postgres"), `CREATE ROLE "newcomer" LOGIN CREATEDB CREATEROLE`, `GRANT pg_signal_backend TO "newcomer"`)
	must(t, CheckRestore(t.Context(), alone))
}

package postgres

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
	"github.com/understudy-ha/understudy/e2e/server"
)

// with is an entry whose facts were changed.
func withFacts(t *testing.T, e source.Entry, change func(*Facts)) source.Entry {
	t.Helper()
	var f Facts
	sourcetest.Must(t, json.Unmarshal(e.Facts, &f))
	change(&f)
	raw, err := json.Marshal(f)
	sourcetest.Must(t, err)
	e.Facts = raw
	return e
}

// Locales and collations that a server lacks are told of before a restore, and
// looking leaves nothing behind.
func TestPostgresLocalesThatAServerLacksAreNamed(t *testing.T) {
	srv := server.Postgres(t)
	sqlIn(t, srv.DSN("postgres"), "CREATE DATABASE app TEMPLATE template0 LC_COLLATE 'C.UTF-8' LOCALE_PROVIDER icu ICU_LOCALE 'sv'")
	sqlIn(t, srv.DSN("app"), `CREATE COLLATION german (provider = icu, locale = 'de-x-icu')`, `CREATE COLLATION plain (provider = libc, locale = 'C.UTF-8')`,
		`CREATE TABLE t (a text COLLATE "en-x-icu", b text COLLATE german, c text COLLATE "C", d text)`)
	p, s := newPostgresAt(t, srv, "app"), sourcetest.NewVault(t)
	e, _ := s.Backup(t, p)
	sourcetest.Must(t, p.Accept(t.Context(), e))
	sourcetest.Must(t, p.Accept(t.Context(), e))
	withFacts(t, e, func(f *Facts) {
		var names []string
		for _, c := range f.Collations {
			names = append(names, c.Name)
		}
		if got := strings.Join(names, " "); f.Provider != "i" || f.Locale != "sv" || got != "en-x-icu german plain" {
			t.Errorf("facts %+v", f)
		}
	})
	for want, change := range map[string]func(*Facts){
		"does not have the locale of the database (xx_YY.UTF-8, C, sv)": func(f *Facts) { f.Collate = "xx_YY.UTF-8" },
		"does not have the locale of the database (C.UTF-8, xx_YY, sv)": func(f *Facts) { f.CType = "xx_YY" },
		"collations that the database uses (sv_XX)": func(f *Facts) {
			f.Collations = append(f.Collations, collationFact{Name: "sv_XX", Provider: "c"})
		},
		`does not have the locale of collation "mine" (xx_YY`: func(f *Facts) {
			f.Collations = append(f.Collations, collationFact{Name: "mine", Provider: "c", Locale: "xx_YY", CType: "xx_YY", Own: true})
		},
	} {
		lacking := withFacts(t, e, change)
		sourcetest.MustFail(t, p.Accept(t.Context(), lacking), "restore db: the server here does not have ", want, "install")
		sourcetest.MustFail(t, p.Stage(t.Context(), s.Reader(), lacking), want)
	}
	old := withFacts(t, e, func(f *Facts) { f.Provider, f.Locale, f.Collations = "", "", nil })
	sourcetest.Must(t, p.Accept(t.Context(), old)) // of an earlier version of this program
	if got := databases(t, srv); len(got) != 1 {
		t.Errorf("databases %q", got)
	}
	takeover(t, s, e, p)
}

// What pg_restore warns of, though it succeeds, is in what is said of the stage.
func TestPostgresWarningsOfARestoreAreKept(t *testing.T) {
	srv := server.Postgres(t)
	s, e := newSmall(t, srv, "app")
	real, err := pgclient.FindTool(t.Context(), "pg_restore", pgclient.MinServer)
	sourcetest.Must(t, err)
	dir := t.TempDir()
	sourcetest.Must(t, os.WriteFile(filepath.Join(dir, "pg_restore"), []byte("#!/bin/sh\necho 'pg_restore: warning: it is odd' >&2\necho 'pg_restore: hint: look at it' >&2\nexec "+real.Path+" \"$@\"\n"), 0o755))
	old := pgclient.ToolDirs
	t.Cleanup(func() { pgclient.ToolDirs = old })
	pgclient.ToolDirs = []string{dir}
	p := newPostgresAt(t, srv, "app")
	var x source.Examination
	sourcetest.Must(t, p.Stage(source.WithExamination(t.Context(), &x), s.Reader(), e))
	if diff := cmp.Diff([]string{"pg_restore: warning: it is odd; hint: look at it"}, x.Unchecked); diff != "" || len(x.Damage) > 0 {
		t.Errorf("found %+v", x.Findings)
	}
}

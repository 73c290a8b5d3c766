package discover

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/cmd/understudy/settings"
	"github.com/understudy-ha/understudy/e2e/server"
)

// TestDatabasesOfAServerAreFound: what is written for them leads to them.
func TestDatabasesOfAServerAreFound(t *testing.T) {
	p := server.Postgres(t)
	ctx := t.Context()
	conn, err := pgx.Connect(ctx, p.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, text := range []string{"CREATE ROLE owner LOGIN", `CREATE DATABASE "My App/1" OWNER owner`, "CREATE DATABASE yes"} {
		if _, err := conn.Exec(ctx, text); err != nil {
			t.Fatal(err)
		}
	}
	f := Finder{Run: RunHere, Sockets: []string{p.Dir, p.Dir + "/.", t.TempDir()}, Own: "/var/lib/understudy"}
	found := &Found{}
	f.databases(ctx, found)
	found.tidy()
	if len(found.Sources) != 2 || len(found.Notes) != 0 || found.Sources[0].Name != "My-App-1" || found.Sources[1].Name != "yes" {
		t.Fatalf("found %+v", found)
	}
	h := &settings.Host{DataDir: "/var/lib/understudy", Config: filepath.Join(t.TempDir(), "understudy.yaml")}
	if err := os.WriteFile(h.Config, []byte(found.YAML()), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := h.File(nil); err != nil {
		t.Fatalf("%v\n%s", err, found.YAML())
	}
	for _, s := range found.Sources {
		c, err := pgx.Connect(ctx, s.URL)
		if err != nil {
			t.Errorf("%s: %v", s.URL, err)
			continue
		}
		var name string
		if err := c.QueryRow(ctx, "SELECT current_database()").Scan(&name); err != nil || noName.ReplaceAllString(name, "-") != s.Name {
			t.Errorf("%s leads to %s: %v", s.URL, name, err)
		}
		c.Close(ctx)
	}
	p.Stop(t)
}

// A server that does not answer is told of, and holds up nothing else.
func TestAServerThatSaysNothingIsNamed(t *testing.T) {
	dir := t.TempDir()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(dir, ".s.PGSQL.5433"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f := Finder{Run: func(context.Context, string, ...string) ([]byte, error) { return nil, errors.New("psql is not there") }, Sockets: []string{dir}}
	found, err := f.Find(t.Context(), nil, []string{dir})
	if err != nil || len(found.Notes) != 1 || !strings.Contains(found.Notes[0], "5433") || len(found.Sources) != 1 {
		t.Errorf("found %+v, %v", found, err)
	}
	if !strings.Contains(found.YAML(), "# The PostgreSQL server at") {
		t.Errorf("%s", found.YAML())
	}
}

func TestWhatLiesInAnotherSourceIsNoSource(t *testing.T) {
	f := &Found{Sources: []Source{
		{Name: "data", Kind: "directory", Path: "/srv/app/data"}, {Name: "app", Kind: "directory", Path: "/srv/app"},
		{Name: "App", Kind: "directory", Path: "/opt/app"}, {Name: "app", Kind: "postgres", URL: "postgres://a@/b"}, {Name: "...", Kind: "file", Path: "/etc/..."},
	}}
	f.tidy()
	var names []string
	for _, s := range f.Sources {
		names = append(names, s.Name)
	}
	if want := []string{"app", "App-2", "file", "app-3"}; len(names) != 4 || !slices.Contains(names, "file") || slices.Contains(names, "data") {
		t.Errorf("names %q, such as %q", names, want)
	}
}

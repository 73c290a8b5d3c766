package postgrescluster

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// as has a source connect as a role without a superuser's rights.
func (s *testServer) role(role string) func(*Config) {
	return func(c *Config) { c.URL = strings.Replace(s.url(), "//postgres@", "//"+role+"@", 1) }
}

// TestWhatAServerLacksIsSaidWithWhatMendsIt has a line for each.
func TestWhatAServerLacksIsSaidWithWhatMendsIt(t *testing.T) {
	t.Parallel()
	s := newTestServer(t, "wal_level = minimal", "max_wal_senders = 0", "max_replication_slots = 0")
	space := filepath.Join(s.dir, "space")
	s.run("mkdir", space)
	s.sql("CREATE ROLE app LOGIN", "CREATE TABLESPACE outside LOCATION '"+space+"'")
	sourcetest.MustFail(t, s.source(s.role("app")).Check(t.Context()), "GRANT pg_monitor TO \"app\"")

	s.sql("GRANT pg_monitor TO app")
	err := s.source(s.role("app")).Check(t.Context())
	sourcetest.MustFail(t, err,
		"ALTER SYSTEM SET wal_level = 'replica'", "ALTER SYSTEM SET max_wal_senders", "ALTER SYSTEM SET max_replication_slots",
		`ALTER ROLE "app" REPLICATION`, "outside at "+space)
	if lines := strings.Count(err.Error(), "\n"); lines < 4 {
		t.Errorf("%d line breaks in:\n%v", lines, err)
	}

	s.sql("DROP TABLESPACE outside", "ALTER ROLE app REPLICATION")
	s.configure("wal_level = replica", "max_wal_senders = 4", "max_replication_slots = 1")
	hba := filepath.Join(s.data, "pg_hba.conf")
	sourcetest.Must(t, os.WriteFile(hba, []byte("host all all 127.0.0.1/32 trust\n"), 0o600))
	s.stop()
	s.start()
	sourcetest.MustFail(t, s.source(s.role("app")).Check(t.Context()), "pg_hba.conf", "host replication app 127.0.0.1/32")
	sourcetest.Must(t, os.WriteFile(hba, []byte("host all,replication all 127.0.0.1/32 trust\n"), 0o600))
	s.sql("SELECT pg_reload_conf()")
	sourcetest.Must(t, s.source(s.role("app")).Check(t.Context()))

	s.sql("SELECT pg_create_physical_replication_slot('of_another')")
	sourcetest.MustFail(t, s.source(nil).Check(t.Context()), "all 1 replication slots are in use", "max_replication_slots = 3")
}

// TestARoleThatMayReplicateSuffices: a backup needs no superuser.
func TestARoleThatMayReplicateSuffices(t *testing.T) {
	t.Parallel()
	s := newTestServer(t)
	s.sql("CREATE ROLE app LOGIN REPLICATION", "GRANT pg_monitor TO app")
	src, v := s.source(s.role("app")), sourcetest.NewVault(t)
	sourcetest.Must(t, src.Check(t.Context()))
	v.Backup(t, src)
	v.Backup(t, src)
}

func TestAFolderThatCannotBeSwappedIsRefused(t *testing.T) {
	t.Parallel()
	s := newTestServer(t)
	sourcetest.MustFail(t, s.source(func(c *Config) { c.DataDir = s.dir }).Check(t.Context()), "is no data folder of PostgreSQL")
	other := newTestServer(t)
	sourcetest.MustFail(t, s.source(func(c *Config) { c.DataDir = other.data }).Check(t.Context()), "keeps its data in "+s.data, "not in data_dir "+other.data)
	missing := s.source(func(c *Config) { c.DataDir = filepath.Join(s.dir, "none") })
	if err := missing.Check(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing data folder: %v", err)
	}
	sourcetest.Must(t, missing.CheckRestore(t.Context()))
	sourcetest.MustFail(t, s.source(func(c *Config) { c.Stop = []string{"no-such-program"} }).Check(t.Context()), "find the program that stops or starts the server")
	sourcetest.MustFail(t, s.source(func(c *Config) { c.BinDir = "/nowhere" }).Check(t.Context()), "bin_dir", "/nowhere")

	s.stop()
	sourcetest.NeedRoot(t)
	sourcetest.Mounting(t, s.data, s.data, "", 0x1000) // MS_BIND: a mount point of its own
	sourcetest.MustFail(t, s.source(nil).Check(t.Context()), "is a mount point, which cannot be renamed", "/data), and have data_dir")
	sourcetest.MustFail(t, s.source(nil).CheckRestore(t.Context()), "is a mount point")
}

func TestConfigMistakes(t *testing.T) {
	t.Parallel()
	good := Config{DataDir: "/srv/data", URL: "postgres://u@127.0.0.1/postgres", Start: []string{"true"}, Stop: []string{"true"}, Scratch: "/tmp/x"}
	for name, change := range map[string]func(*Config){
		"relative data_dir": func(c *Config) { c.DataDir = "data" },
		"no start":          func(c *Config) { c.Start = nil },
		"no stop":           func(c *Config) { c.Stop = nil },
		"no url":            func(c *Config) { c.URL = "" },
		"url with password": func(c *Config) { c.URL = "http://u:s3cret@[" },
		"relative bin_dir":  func(c *Config) { c.BinDir = "bin" },
		"no scratch":        func(c *Config) { c.Scratch = "" },
	} {
		cfg := good
		change(&cfg)
		if _, err := New("db", cfg); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestSlotsHaveNamesThatAServerTakes(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]string{
		"db": "understudy_db_backup", "My-App.1": "understudy_my_app_1_backup",
		strings.Repeat("x", 80): "understudy_" + strings.Repeat("x", 63-len("understudy_")-len("_backup")) + "_backup",
	} {
		if got := slotName(source, "_backup"); got != want || len(got) > 63 {
			t.Errorf("%s: %s", source, got)
		}
	}
}

// TestAServerIsThereThoughNothingCanBeAskedOfIt: one that refuses the role, or is down.
func TestAServerIsThereThoughNothingCanBeAskedOfIt(t *testing.T) {
	t.Parallel()
	s := newTestServer(t)
	src := s.source(s.role("nobody"))
	if err := src.Check(t.Context()); err == nil {
		t.Fatal("a role that is not there may connect")
	}
	for _, when := range []string{"it refuses the role", "it is down"} {
		if there, err := src.Present(); err != nil || !there {
			t.Errorf("%s: there: %v, %v", when, there, err)
		}
		if when == "it refuses the role" {
			s.stop()
		}
	}
	for _, nowhere := range []string{filepath.Join(s.dir, "nothing"), filepath.Join(s.dir, "no", "thing"), t.TempDir()} {
		if there, err := s.source(func(c *Config) { c.DataDir = nowhere }).Present(); err != nil || there {
			t.Errorf("%s: there: %v, %v", nowhere, there, err)
		}
	}
}

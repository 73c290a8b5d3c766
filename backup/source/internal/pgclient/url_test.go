package pgclient

import (
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

func TestPostgresURLsKeepThePasswordOutOfSight(t *testing.T) {
	for _, tt := range []struct{ raw, public, database, password string }{
		{"postgres://app@/app?host=/run/postgresql", "postgres://app@/app?host=%2Frun%2Fpostgresql", "app", ""},
		{"postgres://u:s%40cret@h:5433/db", "postgres://u@h:5433/db", "db", "s@cret"},
		{"postgresql://h/db?password=secret&sslmode=disable&user=u", "postgresql://h/db?sslmode=disable&user=u", "db", "secret"},
		{"postgres://h/?dbname=a+b&application_name=a+b", "postgres://h/a%20b?application_name=a%20b", "a b", ""},
	} {
		c, err := ParseURL(tt.raw, 0)
		sourcetest.Must(t, err)
		if c.Public() != tt.public || c.dbname != tt.database || c.password != tt.password {
			t.Errorf("%s: %s, database %q, password %q", tt.raw, c.Public(), c.dbname, c.password)
		}
		cfg, err := c.To("other").config()
		sourcetest.Must(t, err)
		if cfg.Database != "other" || cfg.Password != tt.password {
			t.Errorf("%s: config for %q with %q", tt.raw, cfg.Database, cfg.Password)
		}
		env := strings.Join(c.Environ(15), "\n")
		if tt.password != "" && !strings.Contains(env, "PGPASSWORD="+tt.password) {
			t.Errorf("%s: no password in the environment", tt.raw)
		}
	}
	for raw, want := range map[string]string{
		"postgres://u:secret@h:port/db":            "not a valid URL",
		"mysql://u:secret@h/db":                    "must begin with postgres://",
		"postgres://u:secret@h":                    "names no database",
		"postgres://u:secret@h/db?sslpassword=xyz": "sslpassword is not supported",
	} {
		_, err := ParseURL(raw, 0)
		sourcetest.MustFail(t, err, want)
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("error tells the password: %v", err)
		}
	}
}

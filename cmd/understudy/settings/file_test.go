package settings

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/source/directory"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/federation"
)

const goodConfig = `
application:
  version: {command: [myapp, --version]}
sources:
  - {name: db,      postgres:  {url: "postgres://app@/app?host=/run/postgresql", admin_url: "postgres://postgres@/postgres"}}
  - {name: uploads, directory: {path: /srv/app/uploads, exclude: ["**/*.tmp"]}}
  - {name: prefs,   sqlite:    {path: /srv/app/prefs.db}}
  - {name: queue,   command:   {dump: [q, export], restore: [q, import], timeout: 90s}}
  - {name: server, postgres_cluster: {data_dir: /var/lib/postgresql/15/main, url: "postgres://understudy:x@127.0.0.1/postgres", start: [pg_ctlcluster, "15", main, start], stop: [pg_ctlcluster, "15", main, stop], base_every: 12h}}
  - {name: metrics, prometheus: {url: "http://127.0.0.1:9090", data_dir: /var/lib/prometheus/metrics2, stop: [systemctl, stop, prometheus], start: [systemctl, start, prometheus]}}
hooks:
  pre_backup: []
  post_backup: {command: [/usr/bin/app, resume], timeout: 7s}
  promote: [systemctl, start, myapp]
  demote:  [systemctl, stop, myapp]
rehearsal: every 30m
apply_every: 10s
prometheus:
  targets_file: /etc/prometheus/understudy/federate.json
  address: host-a:9090
`

func TestConfigBecomesSourcesAndHooks(t *testing.T) {
	c, err := parse([]byte(goodConfig), "/var/lib/understudy", nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range c.Sources {
		got = append(got, s.Kind()+" "+s.Name())
	}
	if want := []string{"postgres db", "directory uploads", "sqlite prefs", "command queue", "postgres_cluster server", "prometheus metrics"}; !slices.Equal(got, want) {
		t.Errorf("sources %q, want %q", got, want)
	}
	if c.Hooks.PreBackup.Command != nil || c.Hooks.Probe.Command != nil {
		t.Errorf("empty hooks are not empty: %+v", c.Hooks)
	}
	if h := c.Hooks.PostBackup; h.Timeout != 7*time.Second || len(h.Command) != 2 {
		t.Errorf("post_backup %+v", h)
	}
	if h := c.Hooks.Promote; h.Timeout != promoteHookTimeout || !slices.Equal(h.Command, []string{"systemctl", "start", "myapp"}) {
		t.Errorf("promote %+v", h)
	}
	if h := c.Hooks.Demote; h.Timeout != 0 {
		t.Errorf("demote %+v: the cluster's stop time-out must hold", h)
	}
	if v := c.Version; v.Literal != "" || len(v.Command.Command) != 2 || v.Command.Timeout != versionTimeout {
		t.Errorf("version %+v", v)
	}
	if c.Rehearsal != (ha.RehearsalPolicy{Every: 30 * time.Minute}) {
		t.Errorf("rehearsal %+v", c.Rehearsal)
	}
	if c.ApplyEvery != 10*time.Second {
		t.Errorf("apply_every %v", c.ApplyEvery)
	}
	if c.Prometheus != (federation.Config{TargetsFile: "/etc/prometheus/understudy/federate.json", Address: "host-a:9090"}) {
		t.Errorf("prometheus %+v", c.Prometheus)
	}
}

func TestVersionLiteralStaysAsWritten(t *testing.T) {
	c, err := parse([]byte("application: {version: 1.10}\nsources: [{name: a, directory: {path: /a}}]\n"), "/d", nil)
	if err != nil || c.Version.Literal != "1.10" {
		t.Errorf("version %+v: %v", c, err)
	}
}

func TestMistakeInConfigNamesItsLineAndWhatToDo(t *testing.T) {
	tests := map[string]struct{ yaml, want string }{
		"not YAML":              {"sources: [", "line 1"},
		"empty":                 {"", "empty"},
		"two documents":         {"sources: [{name: a, directory: {path: /a}}]\n---\nsources: []\n", "second document"},
		"unknown key":           {"sources: [{name: a, directory: {path: /a}}]\nhook: {}\n", `line 2: unknown key "hook"`},
		"unknown key of source": {"sources:\n- name: a\n  directory: {path: /a}\n  compress: yes\n", `line 4: unknown key "compress"`},
		"unknown key of hook":   {"sources: [{name: a, directory: {path: /a}}]\nhooks:\n  promote: {command: [x], time: 3s}\n", `line 3: unknown key "time"`},
		"key twice":             {"hooks: {}\nhooks: {}\n", "line 2"},
		"no sources":            {"hooks: {promote: [x]}\n", "nothing to back up"},
		"sources is text":       {"sources: all\n", "line 1: here must be a list"},
		"duplicate name":        {"sources:\n- {name: a, directory: {path: /a}}\n- {name: A, directory: {path: /b}}\n", `line 3: source name "A" is taken already (by "a")`},
		"no name":               {"sources:\n- directory: {path: /a}\n", "line 2: the source has no name"},
		"name with a slash":     {"sources:\n- name: a/b\n  directory: {path: /a}\n", `line 2: source name "a/b" is not fit for a file name`},
		"name of dots":          {"sources:\n- {name: .., directory: {path: /a}}\n", "line 2: source name"},
		"no kind":               {"sources:\n- {name: a}\n", `line 2: source "a" has no kind`},
		"two kinds":             {"sources:\n- {name: a, directory: {path: /a}, sqlite: {path: /b}}\n", "(directory, sqlite)"},
		"relative path":         {"sources:\n- name: a\n  directory:\n    path: srv/app\n", `line 4: path "srv/app" is not absolute`},
		"no path":               {"sources:\n- {name: a, sqlite: {}}\n", "has no path"},
		"the root":              {"sources: [{name: a, directory: {path: /}}]\n", "root folder cannot be a source"},
		"bad pattern":           {"sources:\n- {name: a, directory: {path: /a, exclude: ['[']}}\n", "line 2"},
		"overlap":               {"sources:\n- {name: a, directory: {path: /a}}\n- {name: b, directory: {path: /a/}}\n", "are both /a"},
		"in a database":         {"sources:\n- {name: a, sqlite: {path: /a}}\n- {name: b, directory: {path: /a/b}}\n", `source "b" (/a/b) lies in source "a"`},
		"unknown databases":     {"sources:\n- name: a\n  directory:\n    path: /a\n    databases: some\n", `line 5: databases: "some" is not known`},
		"no databases":          {"sources:\n- {name: a, directory: {path: /a, databases: []}}\n", "line 2: the list of databases is empty"},
		"bad databases":         {"sources:\n- {name: a, directory: {path: /a, databases: [/x]}}\n", "line 2"},
		"own data folder":       {"sources:\n- {name: a, directory: {path: /data/dir/sub}}\n", "agent's own data folder"},
		"around data folder":    {"sources:\n- {name: a, directory: {path: /data}}\n", "agent's own data folder"},
		"no url":                {"sources:\n- {name: a, postgres: {}}\n", "has no url"},
		"empty dump":            {"sources:\n- name: a\n  command:\n    dump: []\n    restore: [x]\n", "line 4: dump is missing or empty"},
		"no restore":            {"sources:\n- {name: a, command: {dump: [x]}}\n", "line 2: restore is missing or empty"},
		"relative program":      {"sources:\n- {name: a, command: {dump: [bin/x], restore: [y]}}\n", "is a relative path"},
		"no data_dir":           {"sources:\n- name: a\n  prometheus: {url: 'http://a', stop: [x], start: [x]}\n", `line 3: source "a" has no data_dir`},
		"no url of a server":    {"sources:\n- name: a\n  prometheus: {data_dir: /a, stop: [x], start: [x]}\n", `source "a" has no url`},
		"no stop":               {"sources:\n- name: a\n  prometheus: {url: 'http://a', data_dir: /a, start: [x]}\n", "line 3: stop is missing"},
		"url without scheme":    {"sources:\n- name: a\n  prometheus: {url: 'a:9090', data_dir: /a, stop: [x], start: [x]}\n", "line 2: source a: prometheus: url is not of the form"},
		"data_dir of another":   {"sources:\n- {name: a, directory: {path: /srv}}\n- name: b\n  prometheus: {url: 'http://a', data_dir: /srv, stop: [x], start: [x]}\n", "are both /srv"},
		"in a data_dir":         {"sources:\n- {name: a, directory: {path: /srv/x}}\n- name: b\n  prometheus: {url: 'http://a', data_dir: /srv, stop: [x], start: [x]}\n", "lies in source"},
		"no data folder":        {"sources:\n- name: a\n  postgres_cluster: {url: 'postgres://a/b', stop: [x], start: [x]}\n", `line 3: source "a" has no data_dir`},
		"no url of a cluster":   {"sources:\n- name: a\n  postgres_cluster: {data_dir: /a, stop: [x], start: [x]}\n", `source "a" has no url`},
		"no start of a cluster": {"sources:\n- name: a\n  postgres_cluster: {data_dir: /a, url: 'postgres://a/b', stop: [x]}\n", "line 3: start is missing"},
		"unknown key of server": {"sources:\n- name: a\n  prometheus:\n    dir: /a\n", `line 4: unknown key "dir"`},
		"bad time-out":          {"sources:\n- name: a\n  command: {dump: [x], restore: [y], timeout: 30}\n", `line 3: "30" is not a duration`},
		"no time":               {"sources:\n- name: a\n  command: {dump: [x], restore: [y], timeout: 0s}\n", "longer than nothing"},
		"hook as text":          {"sources: [{name: a, directory: {path: /a}}]\nhooks:\n  demote: systemctl stop app\n", "line 3: a command is a list of words"},
		"hook without command":  {"sources: [{name: a, directory: {path: /a}}]\nhooks:\n  demote: {timeout: 3s}\n", "line 3: command is missing or empty"},
		"version as list":       {"application: {version: [x]}\nsources: [{name: a, directory: {path: /a}}]\n", "line 1: a version is a literal"},
		"unknown rehearsal":     {"sources: [{name: a, directory: {path: /a}}]\nrehearsal: daily\n", `line 2: rehearsal "daily" is not known`},
		"applied too often":     {"sources: [{name: a, directory: {path: /a}}]\napply_every: 100ms\n", "line 2: apply_every 100ms is less than 1s"},
		"rehearsal as list":     {"sources: [{name: a, directory: {path: /a}}]\nrehearsal: [off]\n", "line 2: rehearsal"},
		"no targets file":       {"sources: [{name: a, directory: {path: /a}}]\nprometheus: {address: 'a:1'}\n", "line 2: targets_file is missing"},
		"targets file of text":  {"sources: [{name: a, directory: {path: /a}}]\nprometheus: {targets_file: /f.txt, address: 'a:1'}\n", "must end in .json"},
		"no address":            {"sources: [{name: a, directory: {path: /a}}]\nprometheus: {targets_file: /f.json}\n", "line 2: address is missing"},
		"address with a scheme": {"sources: [{name: a, directory: {path: /a}}]\nprometheus:\n  targets_file: /f.json\n  address: http://a:9090\n", "line 4: address"},
		"address without port":  {"sources: [{name: a, directory: {path: /a}}]\nprometheus: {targets_file: /f.json, address: a}\n", "must be host:port"},
		"unknown key of it":     {"sources: [{name: a, directory: {path: /a}}]\nprometheus:\n  target_file: /f.json\n", `line 3: unknown key "target_file"`},
		"relative targets file": {"sources: [{name: a, directory: {path: /a}}]\nprometheus: {targets_file: f.json, address: 'a:1'}\n", "line 2: targets_file"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := parse([]byte(tt.yaml), "/data/dir", nil)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want %q", err, tt.want)
			}
			if n := strings.Count(err.Error(), "\n"); n > 0 {
				t.Errorf("one mistake, %d lines: %v", n+1, err)
			}
		})
	}
}

func TestAllMistakesAreReportedInOrder(t *testing.T) {
	_, err := parse([]byte("sources:\n- {name: a/b, directory: {path: /a}}\n- {name: c}\nhooks: {promote: [a/b]}\n"), "/d", nil)
	var lines []string
	if err != nil {
		for l := range strings.Lines(err.Error()) {
			lines = append(lines, l[:6])
		}
	}
	if want := []string{"line 2", "line 3", "line 4"}; !slices.Equal(lines, want) {
		t.Errorf("errors of %q, want %q: %v", lines, want, err)
	}
}

// Mistakes of every sort are told at once, none that only follows from another one.
func TestUnknownKeysAndWrongShapesAreReportedWithTheRest(t *testing.T) {
	_, err := parse([]byte(`source:
  - {name: a, directory: {path: /a}}
sources:
  - name: db
    postgress: {url: "postgres://app@/app"}
  - name: up loads
    directory: {pth: /srv/app, exclude: all}
  - {name: prefs, sqlite: {path: prefs.db}}
hooks:
  pre_bakup: [x]
  promote: systemctl start app
  demote: {command: [x], timout: 3s}
rehearsal: daily
prometheus: {target_file: "/f.json"}
`), "/d", nil)
	if err == nil {
		t.Fatal("accepted")
	}
	want := []string{
		`line 1: unknown key "source"; did you mean "sources"? The keys here are application, sources, hooks, rehearsal, apply_every, prometheus`,
		`line 5: unknown key "postgress"; did you mean "postgres"? The keys here are name, directory, file, sqlite, postgres, postgres_cluster, command, prometheus`,
		`line 6: source name "up loads" is not fit`,
		`line 7: unknown key "pth"; did you mean "path"? The keys here are path, exclude, databases`,
		`line 7: here must be a list`,
		`line 8: path "prefs.db" is not absolute`,
		`line 10: unknown key "pre_bakup"; did you mean "pre_backup"?`,
		`line 11: a command is a list of words`,
		`line 12: unknown key "timout"; did you mean "timeout"?`,
		`line 13: rehearsal "daily" is not known`,
		`line 14: unknown key "target_file"; did you mean "targets_file"?`,
	}
	got := strings.Split(err.Error(), "\n")
	for i, line := range want {
		if i >= len(got) || !strings.HasPrefix(got[i], line) {
			t.Errorf("mistake %d is not %q:\n%v", i, line, err)
			break
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d mistakes, want %d:\n%v", len(got), len(want), err)
	}
}

// A file may refer to parts of itself.
func TestConfigMayHaveAliases(t *testing.T) {
	c, err := parse([]byte("sources: [{name: a, directory: {path: /a}}]\nhooks:\n  promote: &go [x, y]\n  demote: *go\n"), "/d", nil)
	if err != nil || len(c.Hooks.Demote.Command) != 2 || len(c.Hooks.Promote.Command) != 2 {
		t.Errorf("%+v: %v", c, err)
	}
	if _, err := parse([]byte("sources: [{name: a, directory: {path: /a}}]\nhooks:\n  promote: &go [x, y]\n  demot: *go\n"), "/d", nil); err == nil || !strings.Contains(err.Error(), `line 4: unknown key "demot"`) {
		t.Errorf("%v", err)
	}
}

// What a file refers to is read as if it stood there, and so are its mistakes.
func TestMistakesOfAFileThatRefersToItself(t *testing.T) {
	c, err := parse([]byte(`sources:
  - {name: a, directory: &where {path: /a, exclude: &not [x, y]}}
  - {name: b, directory: {<<: *where, path: /b}}
  - {name: c, directory: {<<: [{path: /c}, *where], exclude: *not}}
hooks:
  probe: &slow {command: [x], timeout: &long 7m}
  promote: {<<: *slow, command: [y]}
  demote: {<<: *slow}
  pre_backup: {command: &z [z], timeout: *long}
  post_backup: *z
`), "/d", nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"/a", "/b", "/c"} {
		if d := c.Sources[i].(*directory.Source).Config(); d.Path != want || !slices.Equal(d.Exclude, []string{"x", "y"}) {
			t.Errorf("source %d: %+v", i, d)
		}
	}
	if h := c.Hooks; h.Promote.Command[0] != "y" || h.Promote.Timeout != 7*time.Minute || h.Demote.Command[0] != "x" || h.PreBackup.Timeout != 7*time.Minute || h.PostBackup.Command[0] != "z" {
		t.Errorf("hooks %+v", h)
	}
	_, err = parse([]byte(`sources:
  - {name: a, directory: &where {pth: /a}}
  - {name: b, directory: *where}
  - {name: c, sqlite: {<<: *where}}
hooks:
  promote: &go systemctl start app
  demote: *go
  prob: [x]
rehearsal: daily
`), "/d", nil)
	want := []string{
		`line 2: unknown key "pth"; did you mean "path"? The keys here are path, exclude, databases`, `line 2: unknown key "pth"; did you mean "path"? The keys here are path`,
		`line 6: a command is a list of words`, `line 8: unknown key "prob"; did you mean "probe"?`, `line 9: rehearsal "daily" is not known`,
	}
	got := strings.Split(fmt.Sprint(err), "\n")
	if len(got) != len(want) {
		t.Fatalf("%d mistakes, want %d:\n%v", len(got), len(want), err)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("mistake %d is not %q:\n%v", i, want[i], err)
		}
	}
}

func TestReferencesThatLeadNowhere(t *testing.T) {
	laughs := "a: &a [x, x, x, x, x, x, x, x, x]\n"
	for c := 'b'; c < 'j'; c++ {
		laughs += fmt.Sprintf("%c: &%c [%[3]s]\n", c, c, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c, ", c-1), 9), ", "))
	}
	for text, want := range map[string]string{
		"sources: *none\n":               "line 1: an alias (*…) refers to nothing",
		"sources: &a [*a]\n":             "line 1: an alias (*…) refers to nothing",
		"hooks: {<<: [a, b]}\n":          "line 1: what is merged must be a group",
		"sources:\n- {name: *hunter2}\n": "line 2: an alias",
		laughs:                           "the file refers to itself too often",
	} {
		if _, err := parse([]byte(text), "/d", nil); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%.40q: error %v, want %q", text, err, want)
		}
	}
}

func TestMistakenConfigShowsNoPassword(t *testing.T) {
	for _, yaml := range []string{
		"sources:\n- name: a\n  postgres: postgres://u:s3cret@h/d\n",
		"sources:\n- {name: a, postgres: {url: 'postgres://u:s3cret@h:port/d'}}\n",
		"sources:\n- {name: a, postgres: {url: ['postgres://u:s3cret@h/d']}}\n",
	} {
		if _, err := parse([]byte(yaml), "/d", nil); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: error %v", yaml, err)
		}
	}
}

func TestMissingConfigSaysHowToNameIt(t *testing.T) {
	_, err := (&Host{Config: filepath.Join(t.TempDir(), "none.yaml"), DataDir: "/d"}).File(nil)
	if !errors.Is(err, os.ErrNotExist) || !errors.Is(err, exit.ErrUsage) || !strings.Contains(err.Error(), "UNDERSTUDY_CONFIG") {
		t.Errorf("error %v", err)
	}
}

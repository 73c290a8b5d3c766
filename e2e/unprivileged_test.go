package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/understudy-ha/understudy/backup/source/sourcetest"
	"github.com/understudy-ha/understudy/e2e/server"
)

// anybody is a user without any rights.
const anybody = 65534

// storyAs is a story whose agents and applications are run by other words, and
// whose folders belong to a user.
func storyAs(t *testing.T, as []string, owner int, apps []*sample) *story {
	t.Helper()
	c := newCluster(t, "file://"+filepath.Join(t.TempDir(), "bucket"), nil)
	bucket := filepath.Join(c.dir, "bucket")
	if err := os.Mkdir(bucket, 0o700); err != nil {
		t.Fatal(err)
	}
	c.bucket = "file://" + bucket
	for _, app := range apps {
		app.as = as
	}
	// The application is begun as this user: its folders are there before.
	for i := range apps {
		for _, sub := range []string{"uploads", "static"} {
			if err := os.MkdirAll(filepath.Join(c.dir, fmt.Sprint("app-", i), sub), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	if apps[0].pg == nil {
		static := filepath.Join(c.dir, "app-0", "static")
		sourcetest.WriteTree(t, static, 7, sourcetest.TreeSize{Files: 60, Bytes: 1 << 20})
		if owner == os.Geteuid() {
			sourcetest.WriteOddities(t, static)
		}
	}
	give(t, c.dir, owner)
	s := newSampleStory(t, c, apps)
	if apps[0].pg == nil {
		s.same = sameTrees(t)
	}
	script := filepath.Join(c.dir, "understudy")
	text := "#!/bin/sh\nexec " + strings.Join(as, " ") + " " + understudyBin() + " \"$@\"\n"
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, h := range c.hosts {
		h.bin, h.commands = script, script
	}
	give(t, c.dir, owner)
	return s
}

// give gives everything in a folder, which lies in a test's own one, to a user.
func give(t *testing.T, dir string, owner int) {
	t.Helper()
	if owner == os.Geteuid() {
		return
	}
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("chown", "-R", fmt.Sprintf("%d:%d", owner, owner), dir).CombinedOutput(); err != nil {
		t.Fatalf("chown: %v\n%s", err, out)
	}
}

// withoutRoot runs something as anybody, without a single capability.
func withoutRoot() (as []string, owner int) {
	if os.Geteuid() != 0 {
		return []string{"setpriv", "--no-new-privs"}, os.Geteuid()
	}
	id := strconv.Itoa(anybody)
	return []string{"setpriv", "--reuid=" + id, "--regid=" + id, "--clear-groups", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"}, anybody
}

// TestWithoutRoot: files, SQLite and their application belong to the user who
// runs the agents, which make backups, rehearse and switch over.
func TestWithoutRoot(t *testing.T) {
	t.Parallel()
	as, owner := withoutRoot()
	s := storyAs(t, as, owner, []*sample{{}, {}, {}})
	s.setUp()
	s.switchover(s.a, s.b)
	s.failover(s.b, s.a)
	// Neither debugger nor core dump of the same user's gets at the keys.
	info, err := os.Stat(fmt.Sprintf("/proc/%d/mem", s.a.agent.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	if uid := info.Sys().(*syscall.Stat_t).Uid; uid != 0 {
		t.Errorf("the agent's memory is user %d's to read", uid)
	}
}

// TestPostgresWithoutRoot: a database needs its role alone.
func TestPostgresWithoutRoot(t *testing.T) {
	t.Parallel()
	one, two := server.Postgres(t), server.Postgres(t)
	apps := []*sample{{pg: one, db: "app"}, {pg: two, db: "app"}, {pg: two, db: "app_c"}}
	for _, s := range apps {
		execute(t, s.pg.DSN("postgres"), "CREATE DATABASE "+s.db)
	}
	as, owner := withoutRoot()
	s := storyAs(t, as, owner, apps)
	s.setUp()
	s.switchover(s.a, s.b)
}

// unitFile is the unit that the packages have.
const unitFile = "../cmd/understudy/packaging/understudy.service"

// TestTheUnitsCapabilitiesSuffice for files of all kinds and owners, and for
// hooks that start something as another user.
func TestTheUnitsCapabilitiesSuffice(t *testing.T) {
	t.Parallel()
	unit, err := os.ReadFile(unitFile)
	if err != nil {
		t.Fatal(err)
	}
	bounding := regexp.MustCompile(`(?m)^CapabilityBoundingSet=(.+)$`).FindSubmatch(unit)
	if bounding == nil {
		t.Fatal("the unit bounds no capabilities")
	}
	caps := "-all"
	for name := range strings.FieldsSeq(string(bounding[1])) {
		caps += ",+" + strings.ToLower(strings.TrimPrefix(name, "CAP_"))
	}
	if os.Geteuid() != 0 {
		caps = "-all"
	}
	s := storyAs(t, []string{"setpriv", "--bounding-set=" + caps, "--no-new-privs"}, os.Geteuid(), []*sample{{}, {}, {}})
	s.setUp()
	s.switchover(s.a, s.b)
	s.switchover(s.b, s.a)
}

// TestUnitsAreHardened: as systemd itself counts what a service could do.
func TestUnitsAreHardened(t *testing.T) {
	unit, err := os.ReadFile(unitFile)
	if err != nil {
		t.Fatal(err)
	}
	dropIn, err := os.ReadFile(filepath.Join(filepath.Dir(unitFile), "unprivileged.conf"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text  []byte
		bound float64
	}{
		"as root":      {unit, 4.2},
		"without root": {append(append([]byte{}, unit...), dropIn...), 2.1},
	} {
		path := filepath.Join(t.TempDir(), "understudy.service")
		if err := os.WriteFile(path, c.text, 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("systemd-analyze", "security", "--offline=yes", "--no-pager", path).CombinedOutput()
		figure := regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`).FindSubmatch(out)
		if err != nil || figure == nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		if exposed, err := strconv.ParseFloat(string(figure[1]), 64); err != nil || exposed > c.bound {
			t.Errorf("%s: %s, want at most %v\n%s", name, figure[1], c.bound, out)
		}
		if out, _ := exec.Command("systemd-analyze", "verify", "--man=no", path).CombinedOutput(); strings.Contains(string(out), "Unknown") || strings.Contains(string(out), "Failed to parse") {
			t.Errorf("%s: %s", name, out)
		}
	}
}

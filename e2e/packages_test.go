package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/understudy-ha/understudy/e2e/pages"
	"github.com/understudy-ha/understudy/e2e/server"
)

// Versions of the packages that tests build.
const (
	oldVersion = "1.0.0"
	newVersion = "2.0.0"
)

// releasing is held by the one release that is built: it wants every core.
var releasing sync.Mutex

// release runs the release script of a source tree, as make release does, with a
// machine's ways of its own, on a host whose name is another one each time.
func release(t *testing.T, tree, version, dir string, env ...string) {
	t.Helper()
	releasing.Lock()
	defer releasing.Unlock()
	cmd := exec.CommandContext(t.Context(), "unshare", "--uts", "sh", "-c", `hostname "build-$$" && exec "$0" "$@"`,
		"cmd/understudy/packaging/release", version, dir, "linux/amd64")
	cmd.Dir = tree
	cmd.Env = append(append(os.Environ(), "COMMIT=0123456789", "SOURCE_DATE_EPOCH=1790000000"), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("release %s: %v\n%s", version, err, out)
	}
}

// debOf is the package for Debian in a release.
func debOf(t *testing.T, dir string) string {
	t.Helper()
	return only(t, filepath.Join(dir, "*.deb"))
}

func only(t *testing.T, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %q, %v", pattern, found, err)
	}
	return found[0]
}

// released are the releases that tests share, by their versions.
var released struct {
	sync.Mutex
	dirs map[string]string
}

// releaseOf is the release of a version, built once.
func releaseOf(t *testing.T, version string, env ...string) (dir string) {
	t.Helper()
	released.Lock()
	defer released.Unlock()
	if released.dirs == nil {
		released.dirs = map[string]string{}
	}
	if dir = released.dirs[version]; dir == "" {
		dir = filepath.Join(programs, "release-"+version)
		release(t, "..", version, dir, env...)
		released.dirs[version] = dir
	}
	return dir
}

// TestReleasesAreTheSameTwice: programs, packages, bills of materials and checksums
// are the same bytes, in whatever folder, time zone, language and mask, and on whatever
// host they are made.
func TestReleasesAreTheSameTwice(t *testing.T) {
	t.Parallel()
	elsewhere := filepath.Join(t.TempDir(), "a folder of another name")
	if err := os.MkdirAll(elsewhere, 0o700); err != nil {
		t.Fatal(err)
	}
	copied := exec.CommandContext(t.Context(), "sh", "-c", `umask 077; git ls-files -co --exclude-standard -z |
		tar --null --files-from=- --ignore-failed-read -cf - | tar --no-same-permissions --touch -C "$0" -xf - &&
		ln -s "$PWD/e2e/tools/bin" "$0/e2e/tools/bin"`, elsewhere)
	copied.Dir = ".."
	if out, err := copied.CombinedOutput(); err != nil {
		t.Fatalf("copy the sources: %v\n%s", err, out)
	}
	one, two := releaseOf(t, newVersion), filepath.Join(t.TempDir(), "release")
	release(t, elsewhere, newVersion, two, "TZ=Asia/Tokyo", "LC_ALL=C.UTF-8")
	files, err := os.ReadDir(one)
	if err != nil || len(files) != 5 {
		t.Fatalf("a release has %v, %v", files, err)
	}
	for _, f := range files {
		a, err := os.ReadFile(filepath.Join(one, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(two, f.Name()))
		if err != nil || !bytes.Equal(a, b) {
			t.Errorf("%s differs: %d and %d bytes, %v", f.Name(), len(a), len(b), err)
		}
	}
	sums := exec.CommandContext(t.Context(), "sha256sum", "--check", "--strict", "SHA256SUMS")
	sums.Dir = two
	if out, err := sums.CombinedOutput(); err != nil || strings.Count(string(out), ": OK") != len(files)-1 {
		t.Errorf("checksums: %v\n%s", err, out)
	}
	bothPackagesHaveTheSame(t, debOf(t, one), only(t, filepath.Join(one, "*.rpm")))
}

// Where zsh looks for completions on Debian, and on Red Hat systems.
const zshOnDebian, zshOnRedHat = "/usr/share/zsh/vendor-completions/_understudy", "/usr/share/zsh/site-functions/_understudy"

// bothPackagesHaveTheSame compares the files and scripts of the two kinds.
func bothPackagesHaveTheSame(t *testing.T, deb, rpm string) {
	t.Helper()
	listed, err := output("sh", "-c", `dpkg-deb --fsys-tarfile "$0" | tar -t | grep -v '/$' | sed 's/^\.//'`, deb)
	if err != nil {
		t.Fatalf("list %s: %v\n%s", deb, err, listed)
	}
	files := slices.Sorted(strings.FieldsSeq(listed))
	if listed, err = output("rpm", "--query", "--package", "--list", rpm); err != nil {
		t.Fatalf("list %s: %v\n%s", rpm, err, listed)
	}
	listed = strings.Replace(listed, zshOnRedHat+"\n", zshOnDebian+"\n", 1)
	if other := slices.Sorted(strings.FieldsSeq(listed)); !slices.Equal(files, other) {
		t.Errorf("the .deb has %q, the .rpm %q", files, other)
	}
	for _, want := range []string{
		"/usr/bin/understudy", "/usr/lib/systemd/system/understudy.service", "/etc/understudy/environment",
		"/usr/share/man/man1/understudy.1.gz", "/usr/share/man/man1/understudy-backups-diff.1.gz",
		"/usr/share/bash-completion/completions/understudy", zshOnDebian,
		"/usr/share/fish/vendor_completions.d/understudy.fish", "/usr/share/doc/understudy/copyright", "/usr/share/doc/understudy/licences.gz",
	} {
		if !slices.Contains(files, want) {
			t.Errorf("the packages lack %s", want)
		}
	}
	scripts, err := output("rpm", "--query", "--package", "--scripts", rpm)
	if err != nil || strings.Count(scripts, "#!/bin/sh") != 3 {
		t.Errorf("the scripts of the .rpm: %v\n%s", err, scripts)
	}
}

// TestThePackageOnDebian: it is installed, upgraded, removed and purged under a
// systemd that runs; nothing is started that nobody has configured, and what nobody
// can make again stays.
func TestThePackageOnDebian(t *testing.T) {
	t.Parallel()
	older, newer := debOf(t, releaseOf(t, oldVersion, "PACKAGES=deb")), debOf(t, releaseOf(t, newVersion))
	d := server.SharedDocker(t)
	d.Network(t, "package")
	m := d.Debian(t, "host-a", "package")
	for _, file := range []string{older, newer} {
		m.Put(t, file, "/root/")
	}
	isInstalled(t, m)
	startsByItsUnit(t, m)
	isUpgraded(t, m)
	isRemovedAndPurged(t, m)
}

// installPage is what docs/install.md has people type to do something with a version.
func installPage(t *testing.T, verb, version string) string {
	t.Helper()
	all, err := pages.All("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range all {
		if b.Page == "docs/install.md" && strings.HasPrefix(b.Text, "apt-get "+verb+" ") && strings.Contains(b.Text, version) {
			return "set -e; exec 2>&1; cd /root\n" + b.Text
		}
	}
	t.Fatalf("docs/install.md does not say how to %s %s", verb, version)
	return ""
}

func isInstalled(t *testing.T, m *server.Debian) {
	t.Helper()
	said := m.Run(t, installPage(t, "install", oldVersion))
	if !strings.Contains(said, "Understudy is installed, and not started.") {
		t.Errorf("the installation says:\n%s", said)
	}
	for script, want := range map[string]string{
		"understudy --version":                           "understudy " + oldVersion,
		"systemctl is-active understudy || :":            "inactive",
		"systemctl is-enabled understudy || :":           "disabled",
		"systemd-analyze verify understudy.service 2>&1": "",
		"dpkg --verify understudy":                       "",
		"stat -c '%a %U' /var/lib/understudy":            "700 root",
		"stat -c '%a %U' /etc/understudy/environment":    "600 root",
		"grep -v '^#' /etc/understudy/environment || :":  "", // a bucket of nobody's is no bucket
		"zcat /usr/share/man/man1/understudy-promote.1.gz | grep -m1 -o 'Make this instance the active'": "Make this instance the active",
		"bash -nc '. /usr/share/bash-completion/completions/understudy' 2>&1":                            "",
		"understudy __complete backups di 2>/dev/null | head -1 | cut -f1":                               "diff",
	} {
		if got := m.Run(t, script); got != want {
			t.Errorf("%s: %q, want %q", script, got, want)
		}
	}
}

// smallHost has a folder backed up, and an application that is a unit.
const smallHost = `
set -e
mkdir -p /srv/app /srv/bucket
echo content > /srv/app/file
printf '[Service]\nExecStart=sleep infinity\n' > /etc/systemd/system/app.service
systemctl daemon-reload
systemctl start app
cat > /etc/understudy/understudy.yaml <<'END'
sources:
  - {name: files, directory: {path: /srv/app}}
hooks:
  promote: [systemctl, start, app]
  demote: [systemctl, stop, app]
END
chmod 600 /etc/understudy/understudy.yaml
(umask 077; understudy key generate > /etc/understudy/key)
cat >> /etc/understudy/environment <<'END'
UNDERSTUDY_BUCKET=file:///srv/bucket
UNDERSTUDY_KEY_FILE=/etc/understudy/key
END
understudy init
systemctl enable --now understudy
understudy backup
`

// startsByItsUnit: with all that the unit forbids it.
func startsByItsUnit(t *testing.T, m *server.Debian) {
	t.Helper()
	m.Run(t, smallHost)
	if got := m.Run(t, "systemctl is-active understudy; systemctl show -p NRestarts --value understudy; understudy backups --json | grep -m1 -c '\"id\"'"); got != "active\n0\n1" {
		t.Errorf("the service and its backups: %q\n%s", got, m.Run(t, "journalctl -u understudy --no-pager"))
	}
	m.Run(t, "systemctl reload understudy")
	if log := m.Run(t, "journalctl -u understudy --no-pager --output=cat"); !strings.Contains(log, "configuration") {
		t.Errorf("the reload is not in the log:\n%s", log)
	}
	// It was killed: systemd starts it again. The application goes on.
	app := m.Run(t, "systemctl show -p MainPID --value app")
	m.Run(t, "systemctl kill --signal=KILL understudy")
	eventually(t, "the killed agent is there again", func() error {
		_, err := m.Try(t, "understudy status")
		return err
	})
	if got := m.Run(t, "systemctl show -p MainPID --value app"); got != app {
		t.Errorf("the application was process %s, and is %s", app, got)
	}
}

func isUpgraded(t *testing.T, m *server.Debian) {
	t.Helper()
	app := m.Run(t, "systemctl show -p MainPID --value app")
	said := m.Run(t, installPage(t, "install", newVersion))
	if strings.Contains(said, "not started") {
		t.Errorf("the upgrade says:\n%s", said)
	}
	for script, want := range map[string]string{
		"understudy --version": "understudy " + newVersion,
		"readlink /proc/$(systemctl show -p MainPID --value understudy)/exe": "/usr/bin/understudy", // and no deleted one
		"systemctl is-active understudy":                                     "active",
		"systemctl is-enabled understudy":                                    "enabled",
		"systemctl show -p MainPID --value app":                              app,
		"grep -c ^UNDERSTUDY_BUCKET /etc/understudy/environment":             "1", // what an administrator wrote stays
	} {
		if got := m.Run(t, script); got != want {
			t.Errorf("after the upgrade: %s: %q, want %q", script, got, want)
		}
	}
}

func isRemovedAndPurged(t *testing.T, m *server.Debian) {
	t.Helper()
	key, app := m.Run(t, "cat /etc/understudy/key"), m.Run(t, "systemctl show -p MainPID --value app")
	m.Run(t, installPage(t, "remove", ""))
	for script, want := range map[string]string{
		"pidof understudy || :":                                       "",
		"command -v understudy || :":                                  "",
		"systemctl show -p LoadState --value understudy":              "not-found",
		"find /etc/systemd -name 'understudy*'":                       "",
		"systemctl show -p MainPID --value app":                       app,
		"cat /etc/understudy/key":                                     key,
		"grep -c ^UNDERSTUDY_BUCKET /etc/understudy/environment":      "1",
		"test -s /var/lib/understudy/journal.json && echo remembered": "remembered",
	} {
		if got := m.Run(t, script); got != want {
			t.Errorf("after the removal: %s: %q, want %q", script, got, want)
		}
	}
	// It comes back as it was.
	m.Run(t, installPage(t, "install", newVersion)+"systemctl start understudy")
	eventually(t, "the agent that came back leads", func() error {
		_, err := m.Try(t, "understudy backup")
		return err
	})
	said := m.Run(t, installPage(t, "purge", ""))
	if !strings.Contains(said, "Understudy leaves /var/lib/understudy") || !strings.Contains(said, "Understudy leaves /etc/understudy") {
		t.Errorf("the purge says:\n%s", said)
	}
	if got := m.Run(t, "cat /etc/understudy/key; test -e /etc/understudy/environment || echo gone; test -s /var/lib/understudy/journal.json && echo remembered; dpkg-query -l understudy 2>&1 | grep -c ^ii || :"); got != key+"\ngone\nremembered\n0" {
		t.Errorf("after the purge: %q", got)
	}
}

package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/e2e/pages"
	"github.com/understudy-ha/understudy/e2e/server"
)

// stranger is somebody who has two Debian hosts, an application with a database on the
// first of them, the package, and README.
type stranger struct {
	t     *testing.T
	hosts map[string]*server.Debian
}

// strangersStandIns are what stands for what README names and nobody has here.
var strangersStandIns = [][2]string{
	{"?region=eu-central-1", "?endpoint=http://minio:9000&region=us-east-1"},
	{"understudy promote\n", "understudy promote --yes\n"}, // nobody is there to answer
}

// strangersHost is what the host had before Understudy came.
const strangersHost = `
set -e
cat >> /etc/postgresql/15/main/pg_ident.conf <<'END'
agent root postgres
agent root app
END
sed -i '/^local .*peer$/ s/$/ map=agent/' /etc/postgresql/15/main/pg_hba.conf
echo 'agent postgres postgres' >> /etc/postgresql/15/main/pg_ident.conf
systemctl restart postgresql@15-main
cat > /usr/local/bin/myapp <<'END'
#!/bin/sh
trap 'exit 0' TERM
while :; do psql -qXU app -d app -c 'INSERT INTO entries (text) VALUES (now())'; sleep 0.1; done
END
chmod 755 /usr/local/bin/myapp
printf '[Service]\nExecStart=/usr/local/bin/myapp\n' > /etc/systemd/system/myapp.service
systemctl daemon-reload
`

const strangersApplication = `
set -e
psql -qXU postgres -c 'CREATE ROLE app LOGIN' -c 'CREATE DATABASE app OWNER app'
psql -qXU app -d app -c 'CREATE TABLE entries (id serial PRIMARY KEY, text text)'
mkdir -p /srv/app/uploads
echo content > /srv/app/uploads/file
systemctl start myapp
`

// TestAStrangerFollowsREADME on two Debian hosts with systemd: the package, README's
// lines as they stand, an application protected, promoted, failed over, restored.
func TestAStrangerFollowsREADME(t *testing.T) {
	t.Parallel()
	file := debOf(t, releaseOf(t, newVersion))
	s := newStranger(t)
	begun := time.Now()
	for _, m := range s.hosts {
		m.Put(t, file, "/root/")
	}
	blocks, on := s.readme(), []string{"host-a"}
	for _, b := range blocks {
		on = namedHosts(b.Before, on)
		for _, name := range on {
			s.follow(name, b)
		}
	}
	t.Logf("from the package to a switchover: %v", time.Since(begun).Round(time.Second))
	a, b := s.hosts["host-a"], s.hosts["host-b"]
	const rows = "psql -AtXU app -d app -c 'SELECT count(*) FROM entries'"
	if got := a.Run(t, "systemctl is-active myapp || :") + b.Run(t, "systemctl is-active myapp"); got != "inactiveactive" {
		t.Errorf("after the switchover the application is %s", got)
	}
	// What README's restore wrote, and what the successor has.
	if got := a.Run(t, "ls /tmp/look/db /tmp/look/uploads; cat /tmp/look/uploads/file"); !strings.Contains(got, "dump.pgc") || !strings.HasSuffix(got, "content") {
		t.Errorf("restored: %s", got)
	}
	s.caught(b.Run(t, "understudy backup --json"), a)
	kept := number(t, b.Run(t, rows))
	s.caught(b.Run(t, "understudy backup --json"), a)
	// README: "with --failover: the active is gone".
	b.PowerOff(t)
	if said := a.Run(t, "understudy promote --failover --yes 2>&1"); !strings.Contains(said, "Promoted: this instance is the active") {
		t.Errorf("the failover says:\n%s", said)
	}
	if got := a.Run(t, "systemctl is-active myapp"); got != "active" {
		t.Errorf("after the failover the application is %s", got)
	}
	if got := number(t, a.Run(t, rows)); got < kept {
		t.Errorf("after the failover there are %d rows; the backup had %d", got, kept)
	}
	t.Logf("from the package to a failover: %v", time.Since(begun).Round(time.Second))
}

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func newStranger(t *testing.T) *stranger {
	t.Helper()
	const network, image = "stranger", "minio:1"
	d := server.SharedDocker(t)
	s := &stranger{t: t, hosts: map[string]*server.Debian{}}
	d.Network(t, network)
	stockImages["quay.io/minio/minio"](t, d, image)
	minio := d.Container(t, "minio", network, "--env=MINIO_ROOT_USER=stranger", "--env=MINIO_ROOT_PASSWORD=stranger-secret",
		"--env=MC_HOST_here=http://stranger:stranger-secret@127.0.0.1:9000", image, "server", "/data")
	for _, name := range []string{"host-a", "host-b"} {
		s.hosts[name] = d.Debian(t, name, network)
		s.hosts[name].Run(t, strangersHost)
	}
	s.hosts["host-a"].Run(t, strangersApplication)
	eventually(t, "the bucket is made", func() error {
		_, err := d.TryDocker(t.Context(), "exec", minio, "mc", "mb", "--ignore-existing", "here/my-bucket")
		return err
	})
	t.Cleanup(func() {
		if t.Failed() {
			for name, m := range s.hosts {
				t.Logf("%s:\n%s", name, m.Log("understudy"))
			}
		}
	})
	return s
}

// readme is what README has people type on hosts.
func (s *stranger) readme() (blocks []pages.Block) {
	s.t.Helper()
	all, err := pages.All("..")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, b := range all {
		if b.Page == "README.md" && b.Language == "sh" {
			blocks = append(blocks, b)
		}
	}
	if len(blocks) < 4 || !strings.HasPrefix(blocks[0].Text, "apt-get install") {
		s.t.Fatalf("README has %d blocks for hosts, and begins with %q", len(blocks), blocks[0].Text)
	}
	return blocks
}

var (
	copies      = regexp.MustCompile(`(?m)^scp -p (\S+) host-b:(\S+)\n`)
	environment = "/etc/understudy/environment"
)

// follow types a block on a host, and does by hand what needs the world.
func (s *stranger) follow(name string, b pages.Block) {
	s.t.Helper()
	text := b.Text
	for _, in := range strangersStandIns {
		text = strings.ReplaceAll(text, in[0], in[1])
	}
	copied := copies.FindAllStringSubmatch(text, -1)
	text = copies.ReplaceAllString(text, "")
	m := s.hosts[name]
	if out, err := m.Try(s.t, "cd /root; set -e\n"+text); err != nil {
		s.t.Fatalf("README.md:%d on %s: %v\n%s", b.Line, name, err, out)
	}
	if strings.Contains(text, "> "+environment) {
		m.Run(s.t, "printf 'AWS_ACCESS_KEY_ID=stranger\\nAWS_SECRET_ACCESS_KEY=stranger-secret\\n' >> "+environment)
	}
	for _, c := range copied {
		file := filepath.Join(s.t.TempDir(), "copied")
		m.Get(s.t, c[1], file)
		if err := os.Chmod(file, 0o600); err != nil {
			s.t.Fatal(err)
		}
		s.hosts["host-b"].Put(s.t, file, c[2])
	}
}

// caught waits until a host has rehearsed a backup.
func (s *stranger) caught(answer string, m *server.Debian) {
	s.t.Helper()
	id := decoded[struct{ ID string }](s.t, answer).ID
	eventually(s.t, m.Name+" has rehearsed "+id, func() error {
		out, err := m.Try(s.t, "understudy status --json")
		if err != nil {
			return err
		}
		if status := decoded[struct{ Staged string }](s.t, out); status.Staged != id {
			return errors.New("staged is " + status.Staged)
		}
		return nil
	})
}

package e2e

import (
	"strings"

	"github.com/understudy-ha/understudy/e2e/server"
)

// What stands on the hosts of each page for what the page takes for granted, and what
// must be true when its last command has run.

// settingsOfPages are the pages whose commands run on a stage.
var settingsOfPages = map[string]setting{
	"README.md":                             {preparesApp, checksApp},
	"docs/console.md":                       {protectsUploads, nil},
	"docs/postgresql.md":                    {preparesSubscription, nil},
	"docs/upgrading.md":                     {protectsUploads, nil},
	"docs/tutorials/folder.md":              {preparesShare, checksShare},
	"docs/tutorials/grafana.md":             {preparesGrafana, checksGrafana},
	"docs/tutorials/pocketbase.md":          {preparesPocketBase, checksPocketBase},
	"docs/tutorials/postgresql.md":          {preparesNotes, checksNotes},
	"docs/tutorials/vaultwarden.md":         {preparesVaultwarden, checksVaultwarden},
	"docs/tutorials/yugabytedb-anywhere.md": {preparesYugabyte, checksYugabyte},
}

func (s *stage) both(do func(h *stageHost)) {
	s.t.Helper()
	do(s.hosts["host-a"])
	do(s.hosts["host-b"])
}

// service installs a unit that runs a script.
func (h *stageHost) service(name, script string) {
	h.t.Helper()
	h.write("/opt/"+name+".sh", "#!/bin/bash\ntrap exit TERM\n"+script, 0o755)
	h.write("/etc/systemd/system/"+name+".service", "[Service]\nExecStart=/opt/"+name+".sh\n", 0o644)
}

// took checks that a service runs on one host, and no more on the other.
func (s *stage) took(from, to, service string) {
	s.t.Helper()
	s.hosts[to].run("systemctl is-active " + service)
	if out, err := s.hosts[from].sh("systemctl is-active " + service); err == nil {
		s.t.Errorf("%s still runs on %s: %s", service, from, out)
	}
}

// covers checks that every line that a command prints on host-a is among those that it
// prints on host-b.
func (s *stage) covers(command string) {
	s.t.Helper()
	later := map[string]bool{}
	for line := range strings.Lines(s.hosts["host-b"].run(command)) {
		later[line] = true
	}
	earlier := s.hosts["host-a"].run(command)
	if strings.TrimSpace(earlier) == "" {
		s.t.Errorf("%s prints nothing on host-a", command)
	}
	for line := range strings.Lines(earlier) {
		if !later[line] {
			s.t.Errorf("host-b lacks what %s prints on host-a: %s", command, line)
		}
	}
}

// protectsUploads is a cluster of two hosts around a folder, for pages that begin with one.
func protectsUploads(s *stage) {
	s.both(func(h *stageHost) {
		h.write("/etc/understudy/understudy.yaml", "sources:\n  - {name: uploads, directory: {path: /srv/app/uploads}}\n"+idleHooks, 0o644)
		h.write("/etc/understudy/environment", "UNDERSTUDY_BUCKET=file:///srv/bucket/my-app\nUNDERSTUDY_KEY_FILE=/etc/understudy/key\nUNDERSTUDY_URL=http://"+h.name+":7878\nUNDERSTUDY_LISTEN=:7878\n", 0o600)
	})
	a, b := s.hosts["host-a"], s.hosts["host-b"]
	a.write("/root/password", "correct horse battery staple\n", 0o600)
	a.write("/srv/app/uploads/file", "content", 0o644)
	a.run("(umask 077; understudy key generate > /etc/understudy/key); scp /etc/understudy/key host-b:/etc/understudy/key; understudy init; systemctl start understudy; understudy backup")
	b.run("understudy join; systemctl start understudy")
}

// installsPostgres makes a server as Debian sets it up, in the host's own folders.
func installsPostgres(h *stageHost) {
	h.t.Helper()
	h.run(`
		rm -rf /etc/postgresql
		version=$(ls /usr/lib/postgresql | sort -V | tail -n 1)
		install -d -o postgres -g postgres /run/postgresql /var/lib/postgresql /var/log/postgresql
		pg_createcluster "$version" main -- --no-sync >/dev/null
		cat >/etc/systemd/system/postgresql.service <<-EOF
		[Service]
		User=postgres
		ExecStart=/usr/lib/postgresql/$version/bin/postgres -D /var/lib/postgresql/$version/main -c config_file=/etc/postgresql/$version/main/postgresql.conf -c fsync=off
		EOF
		sed -i 's/^\t*//' /etc/systemd/system/postgresql.service
		systemctl start postgresql
		until runuser -u postgres -- pg_isready -q; do sleep 0.1; done`)
}

// letsRootIn has a server let root in as some of its roles.
func (h *stageHost) letsRootIn(roles ...string) {
	h.t.Helper()
	h.run(`
		cd /etc/postgresql/*/main
		echo 'understudy /^(.*)$ \1' >>pg_ident.conf
		for role in ` + strings.Join(roles, " ") + `; do echo "understudy root $role" >>pg_ident.conf; done
		sed -i 's/^local .*peer$/& map=understudy/' pg_hba.conf
		systemctl reload postgresql`)
}

func preparesApp(s *stage) {
	s.both(func(h *stageHost) {
		installsPostgres(h)
		h.letsRootIn("postgres", "app")
		h.service("myapp", "while :; do psql -qXU app -d app -c 'INSERT INTO entries (text) VALUES (now())'; sleep 0.1; done\n")
	})
	a := s.hosts["host-a"]
	a.run("psql -qXU postgres -c 'CREATE ROLE app LOGIN'; psql -qXU postgres -c 'CREATE DATABASE app OWNER app'; psql -qXU app -d app -c 'CREATE TABLE entries (id serial PRIMARY KEY, text text)'")
	a.write("/srv/app/uploads/file", "content", 0o644)
	a.run("systemctl start myapp")
}

func checksApp(s *stage) {
	s.took("host-a", "host-b", "myapp")
	s.covers("psql -AtXU app -d app -c 'SELECT id, text FROM entries'")
	s.covers("cat /srv/app/uploads/file")
}

// preparesSubscription is a subscription to another database of the same server.
func preparesSubscription(s *stage) {
	a := s.hosts["host-a"]
	installsPostgres(a)
	a.letsRootIn("postgres")
	a.run(`
		echo 'wal_level = logical' >>/etc/postgresql/*/main/postgresql.conf
		systemctl restart postgresql
		until runuser -u postgres -- pg_isready -q; do sleep 0.1; done
		export PGUSER=postgres
		psql -qXc 'CREATE DATABASE pub' -c 'CREATE DATABASE app'
		for d in pub app; do psql -qXd $d -c 'CREATE TABLE t (id integer PRIMARY KEY)'; done
		psql -qXd pub -c 'CREATE PUBLICATION p FOR TABLE t' -c "SELECT pg_create_logical_replication_slot('s', 'pgoutput')" >/dev/null
		psql -qXd app -c "CREATE SUBSCRIPTION s CONNECTION 'dbname=pub host=/run/postgresql user=postgres' PUBLICATION p WITH (create_slot = false, slot_name = 's')"`)
}

func preparesNotes(s *stage) {
	s.both(func(h *stageHost) {
		installsPostgres(h)
		h.write("/usr/local/bin/notes", "#!/bin/bash\ntrap exit TERM\nwhile :; do psql -qXd notes -c 'INSERT INTO notes (text) VALUES (now())'; sleep 0.1; done\n", 0o755)
	})
}

func checksNotes(s *stage) {
	s.took("host-a", "host-b", "notes")
	s.covers("runuser -u notes -- psql -AtXd notes -c 'SELECT id, text FROM notes'")
}

func preparesPocketBase(s *stage) {
	s.both(func(h *stageHost) {
		h.copies(server.PocketBase(h.t), "/opt/pocketbase/pocketbase")
	})
}

func checksPocketBase(s *stage) {
	s.took("host-a", "host-b", "pocketbase")
	s.covers("sqlite3 -readonly -cmd '.timeout 10000' /var/lib/pocketbase/data.db 'SELECT id, email, password FROM _superusers'")
	if owner := s.hosts["host-b"].run("stat -c %U /var/lib/pocketbase/data.db"); owner != "pocketbase\n" {
		s.t.Errorf("the database belongs to %s", owner)
	}
}

func preparesVaultwarden(s *stage) {
	s.both(func(h *stageHost) {
		h.write("/opt/vaultwarden/vaultwarden", `#!/bin/bash
trap exit TERM
. ./.env
cd "$DATA_FOLDER"
[ -e rsa_key.pem ] || head -c 1600 /dev/urandom | base64 >rsa_key.pem
mkdir -p attachments icon_cache
sqlite3 -cmd '.timeout 10000' db.sqlite3 'PRAGMA journal_mode = wal; CREATE TABLE IF NOT EXISTS attachments (id TEXT PRIMARY KEY)' >/dev/null
while read -r id </proc/sys/kernel/random/uuid; do
	echo "$id" | tee "attachments/$id" >icon_cache/newest
	sqlite3 -cmd '.timeout 10000' db.sqlite3 "INSERT INTO attachments VALUES ('$id')"
	sleep 0.1
done
`, 0o755)
	})
}

func checksVaultwarden(s *stage) {
	s.took("host-a", "host-b", "vaultwarden")
	s.covers("cat /var/lib/vaultwarden/rsa_key.pem")
	s.covers("sqlite3 -cmd '.timeout 10000' /var/lib/vaultwarden/db.sqlite3 'SELECT id FROM attachments'")
	s.hosts["host-b"].run("sqlite3 -cmd '.timeout 10000' /var/lib/vaultwarden/db.sqlite3 'SELECT id FROM attachments' | while read -r id; do grep -q \"$id\" /var/lib/vaultwarden/attachments/$id; done")
}

func preparesShare(s *stage) {
	s.both(func(h *stageHost) { h.service("smbd", "while :; do sleep 0.1; done\n") })
	s.hosts["host-a"].write("/srv/share/report.txt", "report", 0o640)
	s.hosts["host-a"].write("/srv/share/draft.tmp", "draft", 0o640)
}

func checksShare(s *stage) {
	s.took("host-b", "host-a", "smbd")
	s.covers("cd /srv/share; find . -type f -printf '%p %m %u %s\\n' | sort")
}

func preparesGrafana(s *stage) {
	s.both(func(h *stageHost) {
		h.service("grafana-server", `
sqlite3 -cmd '.timeout 10000' /var/lib/grafana/grafana.db 'PRAGMA journal_mode = wal; CREATE TABLE IF NOT EXISTS dashboard (id INTEGER PRIMARY KEY, title TEXT)' >/dev/null
while :; do sqlite3 -cmd '.timeout 10000' /var/lib/grafana/grafana.db "INSERT INTO dashboard (title) VALUES (datetime('now'))"; sleep 0.1; done
`)
		h.run("mkdir -p /var/lib/grafana /etc/grafana/provisioning/datasources")
		h.write("/etc/grafana/grafana.ini", "[security]\nsecret_key = of "+h.name+"\n", 0o640)
	})
	s.hosts["host-a"].write("/etc/grafana/provisioning/datasources/prometheus.yaml", "apiVersion: 1\n", 0o640)
}

func checksGrafana(s *stage) {
	s.took("host-a", "host-b", "grafana-server")
	s.covers("sqlite3 -cmd '.timeout 10000' /var/lib/grafana/grafana.db 'SELECT id, title FROM dashboard'")
	s.covers("cat /etc/grafana/grafana.ini /etc/grafana/provisioning/datasources/prometheus.yaml")
}

// promtoolPast is a metric that was measured before the page began.
const promtoolPast = `
cat >/tmp/past <<'EOF'
# TYPE universes gauge
universes 3 1767225600
universes 4 1767225660
# EOF
EOF
promtool tsdb create-blocks-from openmetrics /tmp/past /opt/yugabyte/data/prometheus >/dev/null`

func preparesYugabyte(s *stage) {
	prometheus, promtool := server.PrometheusPrograms(s.t)
	s.both(func(h *stageHost) {
		installsPostgres(h)
		h.letsRootIn("postgres")
		h.copies(prometheus, "/usr/local/bin/prometheus")
		h.copies(promtool, "/usr/local/bin/promtool")
		h.write("/etc/prometheus.yml", "", 0o644)
		h.run("mkdir -p /opt/yugabyte/data/prometheus")
		if h.name == "host-a" {
			h.run(promtoolPast)
		}
		h.write("/etc/systemd/system/prometheus.service", "[Service]\nExecStart=/usr/local/bin/prometheus --config.file=/etc/prometheus.yml --storage.tsdb.path=/opt/yugabyte/data/prometheus --web.listen-address=127.0.0.1:9090 --web.enable-admin-api\n", 0o644)
		h.run("systemctl start prometheus; until curl -fs http://127.0.0.1:9090/-/ready; do sleep 0.1; done")
		h.service("yb-platform", "while :; do psql -qXU postgres -d yugaware -c 'INSERT INTO universe (name) VALUES (now())'; sleep 0.1; done\n")
	})
	a := s.hosts["host-a"]
	a.run("psql -qXU postgres -c 'CREATE DATABASE yugaware'; psql -qXU postgres -d yugaware -c 'CREATE TABLE universe (id serial PRIMARY KEY, name text)'")
	a.write("/opt/yugabyte/data/yb-platform/keys/universe.pem", "a key", 0o600)
}

func checksYugabyte(s *stage) {
	s.took("host-a", "host-b", "yb-platform")
	s.covers("psql -AtXU postgres -d yugaware -c 'SELECT id, name FROM universe'")
	s.covers("cat /opt/yugabyte/data/yb-platform/keys/universe.pem")
	s.covers("until curl -fs http://127.0.0.1:9090/-/ready >/dev/null; do sleep 0.1; done; curl -fs 'http://127.0.0.1:9090/api/v1/query?query=count_over_time(universes%5B100y%5D)' | grep -o '\"2\"'")
}

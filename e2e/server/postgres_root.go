package server

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// postgresEntry starts a server as the official image does, as far as the sample's
// compose file asks for it.
const postgresEntry = `#!/bin/sh
set -eu
as() { /usr/bin/setpriv --reuid=70 --regid=70 --clear-groups "$@"; }
if [ ! -s "$PGDATA/PG_VERSION" ]; then
	mkdir -p "$PGDATA" && chown postgres "$PGDATA" && chmod 700 "$PGDATA"
	printf %%s "$POSTGRES_PASSWORD" > /tmp/password && chown postgres /tmp/password
	as %[1]s/initdb --pgdata="$PGDATA" --username="$POSTGRES_USER" --pwfile=/tmp/password --auth-local=trust --auth-host=scram-sha-256 --locale=C.UTF-8 --encoding=UTF8
	rm /tmp/password
	echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
	as %[1]s/pg_ctl --pgdata="$PGDATA" --options="-c listen_addresses='' -k /tmp" --wait start
	as createdb --host=/tmp --username="$POSTGRES_USER" "$POSTGRES_USER"
	as %[1]s/pg_ctl --pgdata="$PGDATA" --mode=fast --wait stop
fi
exec /usr/bin/setpriv --reuid=70 --regid=70 --clear-groups %[1]s/postgres -D "$PGDATA" -c listen_addresses='*' -k /tmp
`

// PostgresClients copies what dumps and restores.
func (r *Root) PostgresClients() {
	r.tb.Helper()
	for _, name := range []string{"pg_dump", "pg_restore", "pg_isready", "createdb"} {
		// In PATH Debian has a wrapper, which picks a version.
		path, err := newestPostgres(name)
		if err != nil {
			path, err = findPostgres(name)
		}
		if err != nil {
			r.tb.Fatal(err)
		}
		r.Program(path, "usr/bin/"+name)
	}
}

// PostgresServer copies a server, and the program /entrypoint that starts it.
func (r *Root) PostgresServer() {
	r.tb.Helper()
	r.PostgresClients()
	r.Program("setpriv", "usr/bin/setpriv")
	initdb, err := findPostgres("initdb")
	if err != nil {
		r.tb.Fatal(err)
	}
	if initdb, err = filepath.EvalSymlinks(initdb); err != nil {
		r.tb.Fatal(err)
	}
	bin := filepath.Dir(initdb)
	for _, name := range []string{"initdb", "pg_ctl", "postgres"} {
		r.Program(filepath.Join(bin, name), filepath.Join(bin, name))
	}
	for _, flag := range []string{"--pkglibdir", "--sharedir"} {
		out, err := exec.CommandContext(r.tb.Context(), filepath.Join(bin, "pg_config"), flag).Output()
		if err != nil {
			r.tb.Fatalf("ask pg_config for %s: %v", flag, err)
		}
		r.Tree(strings.TrimSpace(string(out)))
	}
	for _, dir := range []string{"/usr/share/zoneinfo", "/usr/lib/locale/C.utf8"} {
		if exists(dir) {
			r.Tree(dir)
		}
	}
	r.Write("etc/passwd", "root:x:0:0::/root:/bin/sh\npostgres:x:70:70::/var/lib/postgresql:/bin/sh\n", 0o644)
	r.Write("etc/group", "root:x:0:\npostgres:x:70:\n", 0o644)
	r.Write("entrypoint", fmt.Sprintf(postgresEntry, bin), 0o755)
}

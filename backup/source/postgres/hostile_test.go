package postgres

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
	"github.com/understudy-ha/understudy/e2e/server"
)

// hostileCode is what somebody who is no superuser makes in a database: attack
// tries to become one, and to run a program as the server's user, and leaves a
// table that says where and as whom it ran. f is what an index takes.
func hostileCode(program string) []string {
	try := func(sql string) string {
		return "BEGIN EXECUTE " + pgclient.Literal(sql) + "; EXCEPTION WHEN OTHERS THEN NULL; END;\n"
	}
	return []string{
		"CREATE FUNCTION public.attack() RETURNS int LANGUAGE plpgsql AS $body$ BEGIN\n" +
			"EXECUTE format('CREATE TABLE IF NOT EXISTS public.%I ()', 'in ' || current_database() || ' as ' || current_user);\n" +
			try("RESET SESSION AUTHORIZATION") + try("RESET ROLE") + try("SET SESSION AUTHORIZATION postgres") + try("SET ROLE postgres") +
			try("ALTER ROLE eve SUPERUSER") + try("GRANT pg_execute_server_program TO eve") + try("CREATE ROLE evil SUPERUSER") +
			try("COPY (SELECT 1) TO PROGRAM 'touch "+program+"'") + "RETURN 1; END $body$",
		"CREATE FUNCTION public.f(x int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM public.attack(); RETURN x; END $$",
	}
}

// harmlessAtFirst are the functions before they become hostile: then they run
// as whoever makes what uses them.
var harmlessAtFirst = []string{
	"CREATE FUNCTION public.attack() RETURNS int LANGUAGE sql AS 'SELECT 1'",
	"CREATE FUNCTION public.f(x int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT x'",
}

// hostileDumps are ways to have code run while a database is restored.
var hostileDumps = []struct {
	name  string
	owner []string // made by eve
	super []string // made by a superuser
	runs  bool     // a restore runs it, as somebody who can do nothing with it
}{
	{"a constraint", []string{"CREATE TABLE t (x int CHECK (public.f(x) > 0))", "INSERT INTO t VALUES (1)"}, nil, true},
	{"a constraint of a domain", []string{"CREATE DOMAIN d AS int CHECK (public.f(VALUE) > 0)", "CREATE TABLE t (x d)", "INSERT INTO t VALUES (1)"}, nil, true},
	{"an index", []string{"CREATE TABLE t AS SELECT 1 AS x", "CREATE INDEX ON t (public.f(x))"}, nil, true},
	{"an index's condition", []string{"CREATE TABLE t AS SELECT 1 AS x", "CREATE INDEX ON t (x) WHERE public.f(x) > 0"}, nil, true},
	{"a generated column", []string{"CREATE TABLE t (x int, y int GENERATED ALWAYS AS (public.f(x)) STORED)", "INSERT INTO t VALUES (1)"}, nil, true},
	{"a partition's key", []string{"CREATE TABLE t (x int) PARTITION BY RANGE ((public.f(x)))", "CREATE TABLE t1 PARTITION OF t DEFAULT", "CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (5) TO (9)", "INSERT INTO t VALUES (1)"}, nil, true},
	{"statistics", []string{"CREATE TABLE t AS SELECT i AS x, i AS y FROM generate_series(1, 9) i", "CREATE STATISTICS s ON (public.f(x)), y FROM t"}, nil, true},
	{"a materialised view", []string{"CREATE MATERIALIZED VIEW v AS SELECT public.attack()"}, nil, true},
	{"a default", []string{"CREATE TABLE t (x int DEFAULT public.attack())", "INSERT INTO t VALUES (1)"}, nil, false},
	{"a trigger", []string{
		"CREATE FUNCTION fires() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM public.attack(); RETURN NEW; END'", "CREATE TABLE t AS SELECT 1 AS x",
		"CREATE TRIGGER a BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION fires()", "ALTER TABLE t ENABLE ALWAYS TRIGGER a",
	}, nil, false},
	{"a policy", []string{
		"CREATE TABLE t AS SELECT 1 AS x", "ALTER TABLE t ENABLE ROW LEVEL SECURITY", "ALTER TABLE t FORCE ROW LEVEL SECURITY",
		"CREATE POLICY p ON t USING (public.attack() > 0) WITH CHECK (public.attack() > 0)",
	}, nil, false},
	{"a rule", []string{"CREATE TABLE t AS SELECT 1 AS x", "CREATE RULE r AS ON INSERT TO t DO ALSO SELECT public.attack()"}, nil, false},
	{"what is found before the server's own", []string{
		"ALTER DATABASE hostile SET search_path = public, pg_catalog", "CREATE TABLE t AS SELECT 1 AS x",
		"CREATE FUNCTION public.format(text, name) RETURNS text LANGUAGE sql AS 'SELECT public.attack()::text'",
		"CREATE FUNCTION public.format(text, name, name) RETURNS text LANGUAGE sql AS 'SELECT public.attack()::text'",
		"CREATE FUNCTION public.pg_get_userbyid(oid) RETURNS name LANGUAGE sql AS 'SELECT public.attack()::text::name'",
		"CREATE FUNCTION public.same(text, text) RETURNS bool LANGUAGE sql AS 'SELECT public.attack() > 0'",
		"CREATE OPERATOR public.= (LEFTARG = text, RIGHTARG = text, FUNCTION = public.same)",
		"CREATE FUNCTION public.pg_advisory_lock(bigint) RETURNS void LANGUAGE sql AS 'SELECT public.attack()'",
	}, nil, false},
	{"names with statements in them", []string{
		"CREATE TABLE \"t\nALTER ROLE eve SUPERUSER;\n--\" (x int)", "CREATE FUNCTION \"g()\nOWNER TO postgres; ALTER ROLE eve SUPERUSER;\n--\"() RETURNS int LANGUAGE sql AS 'SELECT 1'",
		"GRANT SELECT ON \"t\nALTER ROLE eve SUPERUSER;\n--\" TO PUBLIC", "CREATE TYPE \"'; ALTER ROLE eve SUPERUSER; --\" AS (x int)",
	}, nil, false},
	{"a superuser's materialised view", nil, []string{"CREATE MATERIALIZED VIEW v AS SELECT public.attack()"}, true},
	{"an index of a superuser's table", nil, []string{"CREATE TABLE t AS SELECT 1 AS x", "CREATE INDEX ON t (public.f(x))"}, true},
	{"a constraint of a superuser's table", nil, []string{"CREATE TABLE t (x int CHECK (public.f(x) > 0))", "INSERT INTO t VALUES (1)"}, true},
}

// Code in a database that a superuser restores runs as nobody who could do
// anything with it: neither in the dump, nor in a rehearsal, nor in a swap and
// what comes after.
func TestPostgresCodeInADumpGetsNoRights(t *testing.T) {
	one, two := server.Postgres(t), server.Postgres(t)
	sqlIn(t, one.DSN("postgres"), "CREATE ROLE eve LOGIN")
	program := filepath.Join(one.Dir, "program-ran")
	for _, tt := range hostileDumps {
		t.Run(tt.name, func(t *testing.T) {
			sqlIn(t, one.DSN("postgres"), "DROP DATABASE IF EXISTS hostile WITH (FORCE)", "CREATE DATABASE hostile OWNER eve")
			own := as(one, "eve", "hostile")
			sqlIn(t, own, harmlessAtFirst...)
			sqlIn(t, own, "GRANT CREATE ON SCHEMA public TO PUBLIC")
			sqlIn(t, one.DSN("hostile"), tt.super...)
			sqlIn(t, own, replacing(hostileCode(program))...)
			sqlIn(t, own, tt.owner...)
			src, dst, s := newPostgresAt(t, one, "hostile"), newPostgresAt(t, two, "hostile"), sourcetest.NewVault(t)
			e, _ := s.Backup(t, src)
			takeover(t, s, e, dst)
			trusting := two.DSN("hostile") + "&options=-c%20search_path%3Dpg_catalog"
			ran := ask(t, trusting, "SELECT relname::text FROM pg_class WHERE relname ~ '^in hostile_understudy_staging as ' AND relkind = 'r'")
			if (len(ran) > 0) != tt.runs {
				t.Errorf("it ran as %q", ran)
			}
			for _, srv := range []*server.PostgresServer{one, two} {
				got := ask(t, srv.DSN("postgres"), "SELECT rolname::text FROM pg_roles WHERE rolsuper OR pg_has_role(oid, 'pg_execute_server_program', 'MEMBER') AND rolname !~ '^pg_' OR rolname LIKE '%restorer%' ORDER BY 1")
				if !cmp.Equal(got, []string{"postgres"}) {
					t.Errorf("superusers, and roles that are left: %q", got)
				}
			}
			if _, err := os.Stat(program); err == nil {
				t.Error("it ran a program")
			}
			if got := ask(t, trusting, "SELECT nspname::text FROM pg_namespace WHERE pg_get_userbyid(nspowner) LIKE '%restorer%' UNION ALL SELECT relname FROM pg_class WHERE pg_get_userbyid(relowner) LIKE '%restorer%'"); len(got) > 0 {
				t.Errorf("what belongs to the role of the restore: %q", got)
			}
		})
	}
}

// replacing makes functions anew.
func replacing(statements []string) []string {
	var all []string
	for _, sql := range statements {
		all = append(all, strings.Replace(sql, "CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1))
	}
	return all
}

// What runs with a superuser's rights is refused by name, unless that name is
// trusted; its owner is as before then.
func TestPostgresWhatNeedsASuperuserIsRefusedUnlessTrusted(t *testing.T) {
	one, two := server.Postgres(t), server.Postgres(t)
	sqlIn(t, one.DSN("postgres"), "CREATE ROLE eve LOGIN", "CREATE DATABASE app OWNER eve")
	sqlIn(t, as(one, "eve", "app"), "CREATE FUNCTION noted() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN ALTER ROLE eve SUPERUSER; END'")
	sqlIn(t, one.DSN("app"),
		"CREATE FUNCTION up(text) RETURNS text LANGUAGE internal IMMUTABLE AS 'upper'", "ALTER FUNCTION up(text) OWNER TO eve",
		"CREATE TABLE t AS SELECT 'x' AS x", "ALTER TABLE t OWNER TO eve", "CREATE INDEX ON t (public.up(x))",
		"CREATE FUNCTION cmp(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT btint4cmp($1, $2)'",
		"CREATE OPERATOR CLASS mine FOR TYPE int USING btree AS OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 cmp(int, int)",
		"CREATE EVENT TRIGGER note ON ddl_command_end EXECUTE FUNCTION noted()")
	sqlIn(t, one.DSN("postgres"), "ALTER ROLE eve NOSUPERUSER")
	sqlIn(t, one.DSN("app"), "SET session_replication_role TO replica", "COMMENT ON EVENT TRIGGER note IS 'it notes'")
	s := sourcetest.NewVault(t)
	e, _ := s.Backup(t, newPostgresAt(t, one, "app"))
	restoring := func(trust ...string) *Source {
		p, err := New("db", Config{URL: two.DSN("app"), AdminURL: two.DSN("postgres"), Scratch: t.TempDir(), Trust: trust})
		sourcetest.Must(t, err)
		return p
	}
	refused := func(err error, want ...string) {
		t.Helper()
		sourcetest.MustFail(t, err, append(want, "trust: [")...)
		if got := ask(t, two.DSN("postgres"), "SELECT rolname::text FROM pg_roles WHERE rolname LIKE '%restorer%' UNION ALL SELECT datname FROM pg_database WHERE datname LIKE 'app%'"); len(got) > 0 {
			t.Errorf("left: %q", got)
		}
	}
	trust := []string{"operator family public.mine", "operator class public.mine"}
	refused(restoring().Stage(t.Context(), s.Reader(), e), "what only a superuser can make", `"operator class public.mine"`)
	refused(restoring(trust...).Stage(t.Context(), s.Reader(), e), "permission denied for language internal", `trust: ["function public.up(text)"]`)
	trust = append(trust, "function public.up(text)")
	refused(restoring(trust...).Stage(t.Context(), s.Reader(), e), "noted() belongs to role \"eve\", which is no superuser", `trust: ["event trigger note"]`)
	for _, p := range []*Source{restoring(append(trust, "event trigger note")...), restoring("all")} {
		for range 2 { // the second swap drops a database that has the event trigger
			takeover(t, s, e, p)
		}
		got := ask(t, two.DSN("app"), `
			SELECT evtname || evtfoid::regprocedure || evtowner::regrole || obj_description(oid, 'pg_event_trigger') FROM pg_event_trigger
			UNION ALL SELECT 'up of ' || proowner::regrole FROM pg_proc WHERE proname = 'up'
			UNION ALL SELECT opcname || ' of ' || opcowner::regrole FROM pg_opclass WHERE opcname = 'mine'
			UNION ALL SELECT rolname FROM pg_roles WHERE rolsuper OR rolname LIKE '%restorer%'`)
		if diff := cmp.Diff([]string{"notenoted()postgresit notes", "up of eve", "mine of postgres", "postgres"}, got); diff != "" {
			t.Error(diff)
		}
	}
}

// writeHBA says who may connect how.
func writeHBA(t *testing.T, srv *server.PostgresServer, lines ...string) {
	t.Helper()
	sourcetest.Must(t, os.WriteFile(filepath.Join(srv.Dir, "data", "pg_hba.conf"), []byte(strings.Join(lines, "\n")+"\n"), 0o644))
	sqlIn(t, srv.DSN("postgres"), "SELECT pg_reload_conf()", "SELECT pg_sleep(0.2)")
}

// The role that restores connects by a password, over the loopback address where
// the socket wants another; where it cannot, that is said before a restore.
func TestPostgresRestorerConnectsWhereItMay(t *testing.T) {
	srv := server.Postgres(t)
	s, e := newSmall(t, srv, "app")
	sqlIn(t, srv.DSN("postgres"), "CREATE ROLE loader LOGIN", "CREATE ROLE strong LOGIN CREATEROLE")
	by := func(admin, restore string) *Source {
		p, err := New("db", Config{URL: srv.DSN("app"), AdminURL: admin, RestoreURL: restore, Scratch: t.TempDir()})
		sourcetest.Must(t, err)
		return p
	}
	writeHBA(t, srv, "local all postgres trust", "local all all peer", "host all postgres 127.0.0.1/32 trust", "host all all 127.0.0.1/32 scram-sha-256")
	for _, admin := range []string{srv.DSN("postgres"), srv.SocketDSN("postgres")} {
		p := by(admin, "")
		sourcetest.Must(t, p.CheckRestore(t.Context()))
		takeover(t, s, e, p)
	}
	writeHBA(t, srv, "local all all peer", "host all postgres,loader,strong 127.0.0.1/32 trust")
	sourcetest.MustFail(t, by(srv.DSN("postgres"), "").CheckRestore(t.Context()), "source db: ", `give pg_hba.conf a line such as "host all "app_understudy_restorer_1" 127.0.0.1/32 scram-sha-256"`, "restore_url")
	sourcetest.MustFail(t, by(srv.DSN("postgres"), "").Stage(t.Context(), s.Reader(), e), "give pg_hba.conf a line")
	sourcetest.MustFail(t, by(srv.DSN("postgres"), as(srv, "strong", "postgres")).CheckRestore(t.Context()), `restore_url: role "strong" is a superuser, or makes roles`)
	given := by(srv.DSN("postgres"), as(srv, "loader", "postgres"))
	sourcetest.Must(t, given.CheckRestore(t.Context()))
	takeover(t, s, e, given)
	if got := ask(t, srv.DSN("app"), "SELECT tableowner || ' ' || (SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'app') || ' ' || (SELECT count(*) FROM pg_roles WHERE rolname LIKE '%restorer%') FROM pg_tables WHERE tablename = 't'"); !cmp.Equal(got, []string{"postgres postgres 0"}) {
		t.Errorf("owners, and roles that are left: %q", got)
	}
}

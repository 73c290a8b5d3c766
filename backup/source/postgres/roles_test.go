package postgres

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/backup/source/sourcetest"
	"github.com/understudy-ha/understudy/e2e/server"
)

// appRoles are of a database that the application owns.
var appRoles = []string{
	"CREATE ROLE app LOGIN PASSWORD 'old' CONNECTION LIMIT 7 VALID UNTIL '2031-01-01Z'", "CREATE ROLE boss_of_app", "CREATE ROLE reader LOGIN",
	"CREATE ROLE revoked LOGIN IN ROLE app", "CREATE ROLE gone LOGIN IN ROLE app",
	"GRANT boss_of_app TO app WITH ADMIN OPTION", "GRANT pg_read_all_stats TO app", "ALTER ROLE app SET work_mem = '5MB'", "ALTER ROLE reader SET statement_timeout = '9s'",
	"GRANT SET ON PARAMETER log_min_messages TO app WITH GRANT OPTION", "GRANT SET ON PARAMETER zero_damaged_pages TO reader",
	"CREATE DATABASE app OWNER app",
}

// laterRoles are what an operator does afterwards.
var laterRoles = []string{
	"ALTER ROLE app PASSWORD 'new' CONNECTION LIMIT 8 VALID UNTIL 'infinity' CREATEDB", "ALTER ROLE reader NOLOGIN NOINHERIT PASSWORD 'x'",
	"REVOKE app FROM revoked", "REVOKE ADMIN OPTION FOR boss_of_app FROM app", "REVOKE pg_read_all_stats FROM app", "GRANT pg_read_all_data TO app", "DROP ROLE gone",
	"ALTER ROLE app RESET work_mem", "ALTER ROLE app SET search_path = a, \"b c\"", "ALTER ROLE reader RESET ALL", "COMMENT ON ROLE app IS 'runs it'",
	"REVOKE ALL ON PARAMETER zero_damaged_pages FROM reader", "GRANT ALTER SYSTEM ON PARAMETER work_mem TO reader",
}

// rolesOf is everything that a server has of roles.
func rolesOf(t *testing.T, srv *server.PostgresServer) []string {
	t.Helper()
	return ask(t, srv.DSN("postgres"), `
		SELECT (to_jsonb(r) - 'oid')::text || coalesce(shobj_description(oid, 'pg_authid'), '') FROM pg_authid r WHERE rolname !~ '^pg_'
		UNION ALL SELECT roleid::regrole || ' to ' || member::regrole || admin_option FROM pg_auth_members
		UNION ALL SELECT setrole::regrole || setconfig::text FROM pg_db_role_setting WHERE setdatabase = 0
		UNION ALL SELECT p.parname || a.grantee::regrole || a.privilege_type || a.is_grantable FROM pg_parameter_acl p, aclexplode(p.paracl) a WHERE a.grantee <> 10
		ORDER BY 1`)
}

func TestPostgresRolesAreWhatTheyAreOnTheActive(t *testing.T) {
	one, two := server.Postgres(t), server.Postgres(t)
	sqlIn(t, one.DSN("postgres"), appRoles...)
	sqlIn(t, one.DSN("app"), "CREATE TABLE t AS SELECT 'x' AS state", "ALTER TABLE t OWNER TO app", "GRANT SELECT ON t TO reader")
	src, dst, s := newPostgresAt(t, one, "app"), newPostgresAt(t, two, "app"), sourcetest.NewVault(t)
	e, _ := s.Backup(t, src)
	sqlIn(t, two.DSN("postgres"), "CREATE ROLE bystander LOGIN PASSWORD 'its own' IN ROLE pg_monitor")
	takeover(t, s, e, dst)
	sqlIn(t, one.DSN("postgres"), "CREATE ROLE bystander LOGIN PASSWORD 'its own' IN ROLE pg_monitor")
	sqlIn(t, two.DSN("postgres"), "ALTER ROLE bystander PASSWORD NULL")
	sqlIn(t, one.DSN("postgres"), "ALTER ROLE bystander PASSWORD NULL")
	if diff := cmp.Diff(rolesOf(t, one), rolesOf(t, two)); diff != "" {
		t.Fatalf("roles of a new server differ (-active +standby):\n%s", diff)
	}

	sqlIn(t, one.DSN("postgres"), laterRoles...)
	e2, _ := s.Backup(t, src)
	if got := strings.Join(e2.Warnings, "\n"); !strings.Contains(got, "roles that were dropped (gone)") {
		t.Errorf("warnings %q", got)
	}
	before := rolesOf(t, two)
	s.Stage(t, dst, e2)
	before = slices.Sorted(slices.Values(append(before, "pg_read_all_data to appfalse"))) // a restore may need it
	if diff := cmp.Diff(before, rolesOf(t, two)); diff != "" {
		t.Errorf("a rehearsal changed roles that are in use (-before +after):\n%s", diff)
	}
	sourcetest.Must(t, dst.Swap(t.Context()))
	sourcetest.Must(t, dst.SwapBack(t.Context()))
	if diff := cmp.Diff(before, rolesOf(t, two)); diff != "" {
		t.Errorf("taking back a swap left other roles (-before +after):\n%s", diff)
	}
	takeover(t, s, e2, dst)
	sqlIn(t, two.DSN("postgres"), "DROP ROLE gone") // it stays, and has no part in the application any more
	if diff := cmp.Diff(rolesOf(t, one), rolesOf(t, two)); diff != "" {
		t.Errorf("roles differ (-active +standby):\n%s", diff)
	}
}

// The server's own superusers have different names, and one owns what only a
// superuser can own. No other server gets a superuser by that.
func TestPostgresSuperusersOfAnotherNameAreMapped(t *testing.T) {
	one, two := server.PostgresOf(t, "boss"), server.Postgres(t)
	sqlIn(t, one.DSN("postgres"), "CREATE ROLE app LOGIN", "CREATE ROLE dba SUPERUSER LOGIN PASSWORD 'x'", "CREATE ROLE sly LOGIN IN ROLE dba, pg_execute_server_program", "CREATE DATABASE app",
		"GRANT CONNECT ON DATABASE app TO app, sly", "ALTER ROLE boss IN DATABASE app SET work_mem = '5MB'")
	sqlIn(t, one.DSN("app"), "CREATE TABLE t AS SELECT 'x' AS state", "ALTER TABLE t OWNER TO app", "COMMENT ON DATABASE app IS 'the app'",
		"CREATE PUBLICATION everything FOR ALL TABLES", "CREATE EXTENSION postgres_fdw", "CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw",
		"CREATE USER MAPPING FOR app SERVER far OPTIONS (user 'u', password 'p')",
		"CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN NULL; END $$", "CREATE EVENT TRIGGER noted ON ddl_command_end EXECUTE FUNCTION note()",
		"ALTER EVENT TRIGGER noted OWNER TO dba", "GRANT SELECT ON t TO boss")
	src, s := newPostgresAt(t, one, "app"), sourcetest.NewVault(t)
	e, _ := s.Backup(t, src)
	if got := strings.Join(e.Warnings, "\n"); !strings.Contains(got, "dba, sly in dba, sly in pg_execute_server_program") || strings.Contains(got, "boss") {
		t.Errorf("warnings %q", got)
	}
	dst := newPostgresAt(t, two, "app")
	for range 2 {
		takeover(t, s, e, dst)
		for query, want := range map[string]string{
			"SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_roles WHERE rolsuper":                                 "postgres",
			"SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_roles WHERE rolcanlogin":                              "app postgres sly",
			"SELECT pg_get_userbyid(datdba)::text FROM pg_database WHERE datname = 'app'":                                   "postgres",
			"SELECT pubowner::regrole::text FROM pg_publication":                                                            "postgres",
			"SELECT srvowner::regrole::text FROM pg_foreign_server":                                                         "postgres",
			"SELECT evtowner::regrole::text FROM pg_event_trigger":                                                          "postgres",
			"SELECT usename || umoptions::text FROM pg_user_mappings":                                                       "app{password=p,user=u}",
			"SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'app'":                           "the app",
			"SELECT count(*)::text FROM pg_auth_members WHERE member = 'sly'::regrole":                                      "0",
			"SELECT tableowner::text FROM pg_tables WHERE tablename = 't'":                                                  "app",
			"SELECT coalesce(string_agg(rolname, ' ' ORDER BY rolname), '') FROM pg_roles WHERE rolname IN ('boss', 'dba')": "boss", // somebody granted it something
		} {
			if got := ask(t, two.DSN("app"), query); !cmp.Equal(got, []string{want}) {
				t.Errorf("%s: %q, want %q", query, got, want)
			}
		}
	}
	// And back to the server that has the other superuser.
	other := sourcetest.NewVault(t)
	back, _ := other.Backup(t, dst)
	takeover(t, other, back, src)
	if got := ask(t, one.DSN("app"), "SELECT pubowner::regrole || ' ' || (SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_roles WHERE rolsuper) FROM pg_publication"); !cmp.Equal(got, []string{"boss boss dba"}) {
		t.Errorf("back: %q", got)
	}
	trusting, err := New("db", Config{URL: two.DSN("app"), AdminURL: two.DSN("postgres"), Scratch: t.TempDir(), TrustSuperusers: true})
	sourcetest.Must(t, err)
	sqlIn(t, two.DSN("app"), "REVOKE ALL ON t FROM boss", "DROP ROLE boss")
	takeover(t, s, e, trusting)
	if got := ask(t, two.DSN("app"), "SELECT evtowner::regrole || ' ' || (SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_roles WHERE rolsuper) || (SELECT count(*) FROM pg_auth_members WHERE member = 'sly'::regrole) FROM pg_event_trigger"); !cmp.Equal(got, []string{"dba boss dba postgres2"}) {
		t.Errorf("trusted: %q", got)
	}
}

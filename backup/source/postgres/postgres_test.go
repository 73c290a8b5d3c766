package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
	"github.com/understudy-ha/understudy/e2e/server"
)

// newPostgresAt makes a source for the database app of a server.
func newPostgresAt(t testing.TB, srv *server.PostgresServer, database string) *Source {
	t.Helper()
	p, err := New("db", Config{
		URL: srv.DSN(database), AdminURL: srv.DSN("postgres"), Scratch: filepath.Join(t.TempDir(), "scratch"), Jobs: 2,
	})
	sourcetest.Must(t, err)
	return p
}

func connect(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	sourcetest.Must(t, err)
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

// sqlIn runs statements in a database, as its superuser.
func sqlIn(t testing.TB, url string, statements ...string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	sourcetest.Must(t, err)
	defer conn.Close(t.Context())
	for _, sql := range statements {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

// ask gives the answers to a query, one text per row.
func ask(t testing.TB, url, query string) []string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	sourcetest.Must(t, err)
	defer conn.Close(t.Context())
	rows, err := conn.Query(t.Context(), query)
	sourcetest.Must(t, err)
	out, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return out
}

// richRoles and richSchema are of everything that a database may hold.
var (
	richRoles = []string{
		`CREATE ROLE app_owner NOLOGIN`,
		`CREATE ROLE "App Login's" LOGIN PASSWORD 'p''w\d' CONNECTION LIMIT 17 VALID UNTIL '2031-05-06 07:08:09+00'`,
		`COMMENT ON ROLE "App Login's" IS 'logs\in'`,
		`CREATE ROLE reader NOINHERIT`,
		`CREATE ROLE granted_by_default`,
		`CREATE ROLE in_a_policy BYPASSRLS`,
		`CREATE ROLE parent`,
		`CREATE ROLE unrelated LOGIN`,
		`GRANT app_owner TO "App Login's" WITH ADMIN OPTION`,
		`GRANT parent TO app_owner`,
		`GRANT pg_read_all_stats TO reader`,
		`ALTER ROLE "App Login's" SET work_mem = '5MB'`,
		`CREATE DATABASE app OWNER app_owner TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C' CONNECTION LIMIT 42`,
		`COMMENT ON DATABASE app IS 'it''s the app'`,
		`REVOKE ALL ON DATABASE app FROM PUBLIC`,
		`GRANT CONNECT, TEMPORARY ON DATABASE app TO "App Login's" WITH GRANT OPTION`,
		`GRANT CREATE ON DATABASE app TO app_owner`,
		`ALTER DATABASE app SET search_path = "$user", public, "odd, ""schema"`,
		`ALTER DATABASE app SET statement_timeout = '77s'`,
		`ALTER DATABASE app SET app.tenant = 'a\b''c'`,
		`ALTER ROLE reader IN DATABASE app SET search_path = ''`,
	}
	richSchema = []string{
		`CREATE EXTENSION pg_trgm`, `CREATE EXTENSION pgcrypto`,
		`CREATE SCHEMA "odd, ""schema" AUTHORIZATION app_owner`,
		`SET ROLE app_owner`,
		`CREATE TYPE "odd, ""schema".mood AS ENUM ('good', 'bad')`,
		`CREATE TABLE "odd, ""schema".things (
			id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text UNIQUE NOT NULL, mood "odd, ""schema".mood,
			doc jsonb, body bytea, at timestamptz, tags text[], price numeric(12,4), CHECK (price > -5))`,
		`INSERT INTO "odd, ""schema".things (name, mood, doc, body, at, tags, price)
			SELECT 'thing ' || i, CASE i % 2 WHEN 0 THEN 'good'::"odd, ""schema".mood END, jsonb_build_object('i', i, 'nul', NULL),
				decode(md5(i::text), 'hex'), '2020-01-01Z'::timestamptz + i * interval '1 minute', ARRAY['a', NULL, E'\\ "x'], i / 7.0
			FROM generate_series(1, 3000) i`,
		`CREATE TABLE "odd, ""schema".parts (thing bigint REFERENCES "odd, ""schema".things ON DELETE CASCADE, n int) PARTITION BY RANGE (n)`,
		`CREATE TABLE "odd, ""schema".parts_1 PARTITION OF "odd, ""schema".parts FOR VALUES FROM (0) TO (100)`,
		`INSERT INTO "odd, ""schema".parts SELECT i, i % 100 FROM generate_series(1, 500) i`,
		`CREATE INDEX ON "odd, ""schema".things USING gin (name public.gin_trgm_ops)`,
		`CREATE VIEW "odd, ""schema".good AS SELECT id, name FROM "odd, ""schema".things WHERE mood = 'good'`,
		`CREATE MATERIALIZED VIEW "odd, ""schema".counted AS SELECT mood, count(*) FROM "odd, ""schema".things GROUP BY mood`,
		`CREATE SEQUENCE "odd, ""schema".ticket START 1000 INCREMENT 7`,
		`SELECT nextval('"odd, ""schema".ticket'), nextval('"odd, ""schema".ticket')`,
		`CREATE FUNCTION "odd, ""schema".touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.at := now(); RETURN NEW; END $$`,
		`CREATE TRIGGER touch BEFORE UPDATE ON "odd, ""schema".things FOR EACH ROW EXECUTE FUNCTION "odd, ""schema".touch()`,
		`GRANT USAGE ON SCHEMA "odd, ""schema" TO reader`,
		`GRANT SELECT (id, name) ON "odd, ""schema".things TO reader`,
		`GRANT SELECT ON "odd, ""schema".good TO PUBLIC`,
		`ALTER DEFAULT PRIVILEGES IN SCHEMA "odd, ""schema" GRANT SELECT ON TABLES TO granted_by_default`,
		`ALTER TABLE "odd, ""schema".things ENABLE ROW LEVEL SECURITY`,
		`CREATE POLICY p ON "odd, ""schema".things TO in_a_policy USING (price > 1)`,
		`COMMENT ON TABLE "odd, ""schema".things IS 'of all sorts'`,
		`SELECT lo_from_bytea(4711, convert_to(repeat('large object ', 50000), 'UTF8'))`,
		`GRANT SELECT ON LARGE OBJECT 4711 TO reader`,
		`RESET ROLE`,
		`CREATE TABLE of_the_superuser (x int)`,
	}
)

func makeRich(t testing.TB, srv *server.PostgresServer) {
	t.Helper()
	sqlIn(t, srv.DSN("postgres"), richRoles...)
	sqlIn(t, srv.DSN("app"), richSchema...)
}

// describe is everything that a restore must bring back, by what it is.
func describe(t testing.TB, srv *server.PostgresServer) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for what, query := range map[string]string{
		"roles": `SELECT to_jsonb(r) - 'oid' ->> 'rolname' || (to_jsonb(r) - 'oid')::text || coalesce(shobj_description(oid, 'pg_authid'), '')
			FROM pg_authid r WHERE rolname !~ '^pg_' AND rolname <> 'unrelated' ORDER BY 1`,
		"members": `SELECT roleid::regrole || ' to ' || member::regrole || admin_option FROM pg_auth_members WHERE roleid >= 16384 OR member >= 16384 ORDER BY 1`,
		"database": `SELECT pg_get_userbyid(datdba) || encoding || datcollate || datctype || datconnlimit || datallowconn || shobj_description(oid, 'pg_database')
			FROM pg_database WHERE datname = 'app'`,
		"privileges on the database": `SELECT a.grantee::regrole || a.privilege_type || a.is_grantable
			FROM pg_database, aclexplode(datacl) a WHERE datname = 'app' ORDER BY 1`,
		"settings": `SELECT coalesce(d.datname, '-') || setrole::regrole || setconfig::text FROM pg_db_role_setting
			LEFT JOIN pg_database d ON d.oid = setdatabase ORDER BY 1`,
		"relations": `SELECT relnamespace::regnamespace || '.' || relname || relkind::text || relowner::regrole || coalesce(relacl::text, '') || coalesce(obj_description(oid, 'pg_class'), '')
			FROM pg_class WHERE oid >= 16384 AND relname !~ '^pg_toast' ORDER BY 1`,
		"columns' privileges": `SELECT attrelid::regclass || attname || attacl::text FROM pg_attribute WHERE attacl IS NOT NULL AND attrelid >= 16384 ORDER BY 1`,
		"schemas":             `SELECT nspname || nspowner::regrole || coalesce(nspacl::text, '') FROM pg_namespace WHERE nspname !~ '^pg_' ORDER BY 1`,
		"default privileges":  `SELECT defaclrole::regrole || defaclobjtype::text || defaclacl::text FROM pg_default_acl ORDER BY 1`,
		"policies":            `SELECT polname || polrelid::regclass || polroles::regrole[]::text || pg_get_expr(polqual, polrelid) FROM pg_policy`,
		"constraints":         `SELECT conrelid::regclass || conname || pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid > 0 AND oid >= 16384 ORDER BY 1`,
		"indexes":             `SELECT indexdef FROM pg_indexes WHERE schemaname !~ '^pg_' ORDER BY 1`,
		"triggers":            `SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal`,
		"extensions":          `SELECT extname || extversion FROM pg_extension ORDER BY 1`,
		"sequences":           `SELECT schemaname || sequencename || start_value || increment_by || coalesce(last_value, -1) FROM pg_sequences ORDER BY 1`,
		"large objects":       `SELECT oid || lomowner::regrole::text || lomacl::text || md5(lo_get(oid)) FROM pg_largeobject_metadata`,
		"things":              `SELECT t::text FROM "odd, ""schema".things t ORDER BY id`,
		"parts":               `SELECT p::text FROM "odd, ""schema".parts p ORDER BY 1`,
		"counted":             `SELECT c::text FROM "odd, ""schema".counted c ORDER BY 1`,
		"statistics":          `SELECT 'has ' || count(*) FROM pg_stats WHERE tablename = 'things' AND attname = 'name'`,
	} {
		out[what] = ask(t, srv.DSN("app"), query)
	}
	return out
}

func TestPostgresRestoresEverythingOnAnotherServer(t *testing.T) {
	one, two := server.Postgres(t), server.Postgres(t)
	makeRich(t, one)
	sqlIn(t, one.DSN("app"), "ANALYZE")
	src, s := newPostgresAt(t, one, "app"), sourcetest.NewVault(t)
	sourcetest.Must(t, src.Check(t.Context()))
	e, _ := s.Backup(t, src)
	checkFacts(t, e)

	dst := newPostgresAt(t, two, "app")
	sourcetest.Must(t, dst.CheckRestore(t.Context())) // there is no database yet
	s.Stage(t, dst, e)
	if got := databases(t, two); !cmp.Equal(got, []string{"app_understudy_staged"}) {
		t.Errorf("databases after staging: %q", got)
	}
	sourcetest.Must(t, dst.Swap(t.Context()))
	sourcetest.Must(t, dst.Swap(t.Context()))
	sourcetest.Must(t, dst.Discard(t.Context()))
	sourcetest.Must(t, dst.Discard(t.Context()))
	sourcetest.MustSweep(t, dst)
	if got := databases(t, two); !cmp.Equal(got, []string{"app"}) {
		t.Errorf("databases at the end: %q", got)
	}
	if left, _ := os.ReadDir(dst.notes.dir); len(left) > 0 {
		t.Errorf("left in the scratch folder: %v", left)
	}
	if diff := cmp.Diff(describe(t, one), describe(t, two)); diff != "" {
		t.Errorf("restored database differs (-dumped +restored):\n%s", diff)
	}
	if got := ask(t, two.DSN("postgres"), "SELECT rolname::text FROM pg_roles WHERE rolname = 'unrelated'"); len(got) > 0 {
		t.Error("a role that has nothing to do with the database came along")
	}
	// And on from there: what was restored dumps like what was dumped.
	again, _ := sourcetest.NewVault(t).Backup(t, dst)
	if again.Root.Size != e.Root.Size || again.Extra.Size != e.Extra.Size {
		t.Errorf("the restored database dumps to %d+%d bytes instead of %d+%d", again.Root.Size, again.Extra.Size, e.Root.Size, e.Extra.Size)
	}
}

func checkFacts(t *testing.T, e source.Entry) {
	t.Helper()
	var f Facts
	sourcetest.Must(t, json.Unmarshal(e.Facts, &f))
	if e.Kind != "postgres" || e.Extra == nil || e.Size != e.Root.Size+e.Extra.Size {
		t.Errorf("entry %+v", e)
	}
	if f.Major < pgclient.MinServer || !strings.HasPrefix(f.Server, fmt.Sprint(f.Major)) || f.Tool < f.Major || !strings.Contains(f.LSN, "/") ||
		f.Database != "app" || f.Size < 1<<20 || f.Encoding != "UTF8" || f.Collate != "C.UTF-8" || f.CType != "C" || f.Extensions["pg_trgm"] == "" {
		t.Errorf("facts %+v", f)
	}
}

// databases lists a server's own databases, besides the three of every server.
func databases(t testing.TB, srv *server.PostgresServer) []string {
	t.Helper()
	return ask(t, srv.DSN("postgres"), "SELECT datname::text FROM pg_database WHERE datname <> 'postgres' AND NOT datistemplate ORDER BY 1")
}

func TestPostgresExportNeedsNothingButItsFiles(t *testing.T) {
	one, two := server.Postgres(t), server.Postgres(t)
	makeRich(t, one)
	sqlIn(t, one.DSN("app"), "ANALYZE")
	s := sourcetest.NewVault(t)
	e, _ := s.Backup(t, newPostgresAt(t, one, "app"))
	dir := filepath.Join(t.TempDir(), "db")
	sourcetest.Must(t, source.Export(t.Context(), s.Reader(), e, dir))

	script := sourcetest.ReadText(t, filepath.Join(dir, "roles.sql"))
	script = strings.ReplaceAll(script, "CREATE ROLE \"postgres\"", "-- ") // the superuser is there
	for _, argv := range [][]string{
		{"psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname=" + two.DSN("postgres")},
		{"pg_restore", "--exit-on-error", "--dbname=" + two.DSN("app"), filepath.Join(dir, "dump.pgc")},
		{"psql", "--no-psqlrc", "--quiet", "--command=ANALYZE", "--dbname=" + two.DSN("app")},
	} {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Stdin = strings.NewReader(script)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", argv, err, out)
		}
	}
	if diff := cmp.Diff(describe(t, one), describe(t, two)); diff != "" {
		t.Errorf("restored database differs (-dumped +restored):\n%s", diff)
	}
}

func TestPostgresUnchangedDatabaseIsTheSameStream(t *testing.T) {
	srv := server.Postgres(t)
	makeRich(t, srv)
	src, s := newPostgresAt(t, srv, "app"), sourcetest.NewVault(t)
	first, _ := s.Backup(t, src)
	created := archiveSecond(t, s, first)
	sqlIn(t, srv.DSN("postgres"), "SELECT pg_sleep(1.1)", "CHECKPOINT") // pg_dump's clock has seconds
	again, stats := s.Backup(t, src)
	if stats.New != 0 || fmt.Sprint(first.Root, first.Extra.Chunks) != fmt.Sprint(again.Root, again.Extra.Chunks) {
		t.Errorf("unchanged database: %d new bytes", stats.New)
	}
	if created != "2000-01-01 00:00:00" {
		t.Errorf("pg_restore reads the creation time as %s", created)
	}
}

// archiveSecond has pg_restore read the dump's creation time.
func archiveSecond(t *testing.T, s *sourcetest.Vault, e source.Entry) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	sourcetest.Must(t, source.Export(t.Context(), s.Reader(), e, path))
	cmd := exec.Command("pg_restore", "--list", filepath.Join(path, "dump.pgc"))
	cmd.Env = append(os.Environ(), "TZ=UTC")
	out, err := cmd.Output()
	sourcetest.Must(t, err)
	_, rest, _ := strings.Cut(string(out), "Archive created at ")
	return rest[:min(len(rest), len("2000-01-01 00:00:00"))]
}

func TestPostgresLittleChangeIsLittleData(t *testing.T) {
	srv := server.Postgres(t)
	sqlIn(t, srv.DSN("postgres"), "CREATE DATABASE app")
	sqlIn(t, srv.DSN("app"),
		"CREATE TABLE t AS SELECT i, md5(i::text) || md5((-i)::text) AS a, repeat(md5((i+1)::text), 4) AS b, 0 AS n FROM generate_series(1, 200000) i",
		"ALTER TABLE t ADD PRIMARY KEY (i)")
	src, s := newPostgresAt(t, srv, "app"), sourcetest.NewVault(t)
	first, one := s.Backup(t, src)
	sqlIn(t, srv.DSN("app"), "SELECT setseed(0.5)",
		"UPDATE t SET n = n + 1 WHERE i IN (SELECT (random() * 200000)::int FROM generate_series(1, 100))")
	_, two := s.Backup(t, src)
	t.Logf("dump %d bytes; stored %d, then %d (%.2f)", first.Size, one.Stored, two.Stored, float64(two.Stored)/float64(one.Stored))
	if two.Stored > one.Stored/3 {
		t.Errorf("stored %d bytes after 100 updates, and %d at first", two.Stored, one.Stored)
	}
}

func TestPostgresDumpIsConsistentWhileAnotherSessionWrites(t *testing.T) {
	one, two := server.Postgres(t), server.Postgres(t)
	sqlIn(t, one.DSN("postgres"), "CREATE DATABASE app")
	sqlIn(t, one.DSN("app"), "CREATE TABLE accounts AS SELECT i, 1000 AS balance, repeat('x', 500) AS filler FROM generate_series(1, 5000) i",
		"CREATE TABLE log (n int)")
	stop, wrote := startTransfers(t, one)
	src, s := newPostgresAt(t, one, "app"), sourcetest.NewVault(t)
	for range 2 {
		e, _ := s.Backup(t, src)
		dst := newPostgresAt(t, two, "app")
		s.Stage(t, dst, e)
		sourcetest.Must(t, dst.Swap(t.Context()))
		sourcetest.Must(t, dst.Discard(t.Context()))
		got := ask(t, two.DSN("app"), `SELECT sum(balance) || ' ' || (SELECT count(*) = coalesce(max(n), 0) FROM log) FROM accounts`)
		if !cmp.Equal(got, []string{"5000000 true"}) {
			t.Errorf("restored: %q", got)
		}
	}
	close(stop)
	sourcetest.Must(t, <-wrote)
}

// startTransfers keeps moving money until stop is closed.
func startTransfers(t *testing.T, srv *server.PostgresServer) (stop chan struct{}, done chan error) {
	t.Helper()
	conn := connect(t, srv.DSN("app"))
	stop, done = make(chan struct{}), make(chan error, 1)
	move := func(n int) error {
		return pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
			_, a := tx.Exec(t.Context(), "UPDATE accounts SET balance = balance - 1 WHERE i = $1", n%5000+1)
			_, b := tx.Exec(t.Context(), "UPDATE accounts SET balance = balance + 1 WHERE i = $1", n*31%5000+1)
			_, c := tx.Exec(t.Context(), "INSERT INTO log VALUES ($1)", n)
			return errors.Join(a, b, c)
		})
	}
	sourcetest.Must(t, move(1))
	go func() {
		for n := 2; ; n++ {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if err := move(n); err != nil {
				done <- err
				return
			}
		}
	}()
	return stop, done
}

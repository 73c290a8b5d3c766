package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/e2e/server"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
)

// databaseApp is an application that is a database and nothing else.
type databaseApp struct{ pg *server.PostgresServer }

func (o *databaseApp) config() string {
	return fmt.Sprintf("sources:\n  - {name: db, postgres: {url: %q, admin_url: %q}}\nhooks:\n  promote: ['true']\n  demote: ['true']\n",
		o.pg.DSN("app"), o.pg.DSN("postgres"))
}

func (o *databaseApp) rows(*testing.T) map[int64]string             { return nil }
func (o *databaseApp) restored(*testing.T, string) map[int64]string { return nil }
func (o *databaseApp) running(*testing.T) bool                      { return false }
func (o *databaseApp) starts(*testing.T) int                        { return 0 }
func (o *databaseApp) crash(*testing.T)                             {}
func (o *databaseApp) revive(*testing.T)                            {}
func (o *databaseApp) stop(*testing.T)                              {}

// manyObjects makes one of everything that a database may hold.
var manyObjects = []string{
	`CREATE EXTENSION pg_trgm; CREATE EXTENSION pgcrypto; CREATE EXTENSION hstore`,
	`CREATE SCHEMA shop AUTHORIZATION app_owner`,
	`SET ROLE app_owner;
	 CREATE TYPE shop.mood AS ENUM ('good', 'bad');
	 CREATE DOMAIN shop.price AS numeric(12,4) CHECK (VALUE > -5);
	 CREATE TABLE shop.things (
		id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tenant int NOT NULL DEFAULT 1, name text UNIQUE NOT NULL,
		cost shop.price, twice numeric GENERATED ALWAYS AS (cost * 2) STORED, mood shop.mood, doc jsonb, body bytea, at timestamptz);
	 INSERT INTO shop.things (tenant, name, cost, mood, doc, body, at)
		SELECT i % 3, 'thing ' || i, i / 7.0, 'good', jsonb_build_object('i', i), decode(md5(i::text), 'hex'),
			'2020-01-01Z'::timestamptz + i * interval '1 minute' FROM generate_series(1, 20000) i;
	 CREATE TABLE shop.sales (thing bigint REFERENCES shop.things ON DELETE CASCADE, day date NOT NULL, n int) PARTITION BY RANGE (day);
	 CREATE TABLE shop.sales_2025 PARTITION OF shop.sales FOR VALUES FROM ('2025-01-01') TO ('2026-01-01') PARTITION BY LIST (n);
	 CREATE TABLE shop.sales_2025_few PARTITION OF shop.sales_2025 FOR VALUES IN (0, 1, 2);
	 CREATE TABLE shop.sales_2025_more PARTITION OF shop.sales_2025 DEFAULT;
	 CREATE TABLE shop.sales_rest PARTITION OF shop.sales DEFAULT;
	 INSERT INTO shop.sales SELECT i, date '2024-06-01' + i % 700, i % 10 FROM generate_series(1, 5000) i;
	 CREATE INDEX things_trgm ON shop.things USING gin (name public.gin_trgm_ops);
	 CREATE INDEX sales_day ON shop.sales (day);
	 CREATE VIEW shop.cheap WITH (security_barrier) AS SELECT id, name FROM shop.things WHERE cost < 10;
	 CREATE MATERIALIZED VIEW shop.per_tenant AS SELECT tenant, count(*), sum(twice) FROM shop.things GROUP BY tenant;
	 CREATE UNIQUE INDEX ON shop.per_tenant (tenant);
	 CREATE MATERIALIZED VIEW shop.empty AS SELECT 1 AS one WITH NO DATA;
	 CREATE SEQUENCE shop.ticket START 1000 INCREMENT 7;
	 SELECT nextval('shop.ticket'), nextval('shop.ticket');
	 CREATE FUNCTION shop.touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.at := now(); RETURN NEW; END $$;
	 CREATE TRIGGER touch BEFORE UPDATE ON shop.things FOR EACH ROW EXECUTE FUNCTION shop.touch();
	 CREATE PROCEDURE shop.clear() LANGUAGE sql AS 'DELETE FROM shop.sales';
	 CREATE STATISTICS shop.dependent ON tenant, mood FROM shop.things;
	 ALTER TABLE shop.things ENABLE ROW LEVEL SECURITY;
	 ALTER TABLE shop.things FORCE ROW LEVEL SECURITY;
	 CREATE POLICY own ON shop.things TO tenant_one USING (tenant = 1) WITH CHECK (tenant = 1);
	 CREATE POLICY all_of_it ON shop.things TO app_owner USING (true);
	 GRANT USAGE ON SCHEMA shop TO reader, tenant_one;
	 GRANT SELECT (id, name) ON shop.things TO reader;
	 GRANT SELECT, INSERT ON shop.things TO tenant_one WITH GRANT OPTION;
	 GRANT SELECT ON shop.cheap TO PUBLIC;
	 ALTER DEFAULT PRIVILEGES IN SCHEMA shop GRANT SELECT ON TABLES TO reader;
	 COMMENT ON TABLE shop.things IS 'of all sorts';
	 SELECT lo_from_bytea(4711, convert_to(repeat('large object ', 50000), 'UTF8'));
	 GRANT SELECT ON LARGE OBJECT 4711 TO reader;
	 RESET ROLE`,
	`SELECT lo_from_bytea(4712, '\x00ff')`,
	`CREATE PUBLICATION everything FOR ALL TABLES`,
	`CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN NULL; END $$;
	 CREATE EVENT TRIGGER noted ON ddl_command_end EXECUTE FUNCTION note()`,
}

var roles = []string{
	`CREATE ROLE app_owner NOLOGIN`,
	`CREATE ROLE reader NOINHERIT LOGIN PASSWORD 'secret' CONNECTION LIMIT 17 VALID UNTIL '2031-05-06 07:08:09+00'`,
	`CREATE ROLE tenant_one LOGIN`, `CREATE ROLE everyone`,
	`GRANT everyone TO reader, tenant_one`, `GRANT app_owner TO tenant_one WITH ADMIN OPTION`,
	`ALTER ROLE reader SET work_mem = '5MB'`,
	`CREATE DATABASE app OWNER app_owner TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' CONNECTION LIMIT 42`,
	`COMMENT ON DATABASE app IS 'it''s the app'`,
	`REVOKE ALL ON DATABASE app FROM PUBLIC`,
	`GRANT CONNECT, TEMPORARY ON DATABASE app TO tenant_one WITH GRANT OPTION`,
	`GRANT CREATE ON DATABASE app TO app_owner`,
	`ALTER DATABASE app SET statement_timeout = '77s'`,
	`ALTER DATABASE app SET search_path = shop, public`,
	`ALTER ROLE reader IN DATABASE app SET search_path = ''`,
}

// TestPostgresObjectsSurviveAPromotion compares a database row for row and
// object for object with what it was on the host that it came from: by
// everything that PostgreSQL's own tools say of both.
func TestPostgresObjectsSurviveAPromotion(t *testing.T) {
	t.Parallel()
	one, two := server.Postgres(t), server.Postgres(t)
	for _, sql := range roles {
		execute(t, one.DSN("postgres"), sql)
	}
	for _, sql := range manyObjects {
		execute(t, one.DSN("app"), sql)
	}
	c := newCluster(t, "file://"+filepath.Join(t.TempDir(), "bucket"), nil)
	a, b := c.host("host-a", &databaseApp{pg: one}), c.host("host-b", &databaseApp{pg: two})
	a.run("init")
	a.serve()
	b.run("join")
	b.serve()
	a.is(report.StateActive)
	promote := func(from, to *host) {
		t.Helper()
		if p := query[promotions.PromotionStatus](to, "promote", "--yes"); p.State != promotions.PromotionDone {
			t.Fatalf("promotion: %+v", p)
		}
		to.is(report.StateActive)
		from.is(report.StateInSync)
		was, now := from.app.(*databaseApp).pg, to.app.(*databaseApp).pg
		for what, tool := range map[string][]string{
			"objects": {"pg_dump", "--schema-only", "--create", "app"},
			"rows":    {"pg_dump", "--data-only", "--blobs", "app"},
			"roles":   {"pg_dumpall", "--roles-only"},
			"views":   {"psql", "--dbname=app", "--command=TABLE shop.per_tenant", "--command=SELECT matviewname, ispopulated FROM pg_matviews"},
		} {
			if d := cmp.Diff(said(t, was, tool), said(t, now, tool)); d != "" {
				t.Errorf("%s differ after the promotion of %s:\n%s", what, to.name, d)
			}
		}
		analysed(t, now)
	}
	b.rehearses()
	promote(a, b)
	// And back, with what was changed meanwhile, over a database that is there.
	execute(t, two.DSN("app"), `UPDATE shop.things SET cost = cost + 1 WHERE id < 100; DROP VIEW shop.cheap;
		SELECT lo_unlink(4712); ALTER DATABASE app SET statement_timeout = '88s'; REFRESH MATERIALIZED VIEW shop.empty;
		REFRESH MATERIALIZED VIEW shop.per_tenant`)
	promote(b, a)
}

// said is what one of PostgreSQL's tools says, by line. Lines of data are
// sorted: rows have no order.
func said(t *testing.T, pg *server.PostgresServer, tool []string) []string {
	t.Helper()
	args := append([]string{"--host=127.0.0.1", fmt.Sprint("--port=", pg.Port), "--username=postgres"}, tool[1:]...)
	out, err := exec.CommandContext(t.Context(), tool[0], args...).Output()
	if err != nil {
		t.Fatalf("run %v: %v", tool, err)
	}
	lines := slices.DeleteFunc(strings.Split(string(out), "\n"), func(line string) bool {
		// Each run has a random key of its own; and a standby that rehearses has a
		// role for as long as that takes.
		return strings.HasPrefix(line, `\restrict `) || strings.HasPrefix(line, `\unrestrict `) || strings.Contains(line, "_understudy_restorer_")
	})
	if !slices.Contains(tool, "--schema-only") {
		slices.Sort(lines)
	}
	if len(lines) < 9 {
		t.Fatalf("%v said only %q", tool, lines)
	}
	return lines
}

// analysed checks that the planner knows the tables from the first query on.
func analysed(t *testing.T, pg *server.PostgresServer) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "psql", pg.DSN("app"), "--no-align", "--tuples-only", "--command",
		`SELECT attname FROM pg_stats WHERE schemaname = 'shop' AND tablename IN ('things', 'sales')`).Output()
	if columns := strings.Fields(string(out)); err != nil || len(columns) < 10 {
		t.Errorf("statistics are there of the columns %q alone (%v)", columns, err)
	}
}

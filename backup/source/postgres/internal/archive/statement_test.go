package archive

import "testing"

// A statement that an administrator executes is read as the server reads it.
func TestPostgresHarmlessStatements(t *testing.T) {
	for kind, texts := range map[string][]string{
		"ACL": {
			`REVOKE ALL ON SCHEMA public FROM PUBLIC; GRANT SELECT("a;b"),INSERT(c) ON TABLE public."x ""y" TO "TO" WITH GRANT OPTION;`,
			`SET SESSION AUTHORIZATION 'o''brien'; GRANT ALL ON FUNCTION public.f(a integer, VARIADIC b text[]) TO b; RESET SESSION AUTHORIZATION;`,
			`GRANT USAGE ON FOREIGN SERVER s TO ä;`,
		},
		"DEFAULT ACL":       {`ALTER DEFAULT PRIVILEGES FOR ROLE a IN SCHEMA s GRANT SELECT ON TABLES  TO b;`},
		"COMMENT":           {`COMMENT ON EXTENSION pg_trgm IS 'it''s; not \a';`, `COMMENT ON EVENT TRIGGER "e" IS E'a\'; b';`},
		"EVENT TRIGGER":     {"CREATE EVENT TRIGGER e ON ddl_command_end\n         WHEN TAG IN ('CREATE TABLE', 'DROP TABLE')\n   EXECUTE FUNCTION public.f();\n\nALTER EVENT TRIGGER e ENABLE ALWAYS;"},
		"PUBLICATION":       {`CREATE PUBLICATION p FOR ALL TABLES WITH (publish = 'insert');`},
		"PUBLICATION TABLE": {`ALTER PUBLICATION p ADD TABLE ONLY public.t (a, b) WHERE ((a > 1));`},
		"SUBSCRIPTION":      {`CREATE SUBSCRIPTION s CONNECTION 'host=x password=''y''' PUBLICATION p WITH (connect = false, slot_name = 's');`},
	} {
		for _, text := range texts {
			if _, err := harmlessStatements(&Entry{Kind: kind, make: text}); err != nil {
				t.Errorf("%s: %v", text, err)
			}
		}
	}
	for _, tt := range [][2]string{
		{"ACL", `GRANT postgres TO eve;`},
		{"ACL", `GRANT a, "on" TO eve;`},
		{"ACL", `GRANT pg_execute_server_program TO eve GRANTED BY "ON" ;`},
		{"ACL", `GRANT ALL ON DATABASE postgres TO eve;`},
		{"ACL", `GRANT SET ON PARAMETER x TO eve;`},
		{"ACL", `GRANT SELECT ON TABLE t TO b; ALTER ROLE eve SUPERUSER;`},
		{"ACL", `GRANT SELECT ON TABLE E'\'; ALTER ROLE eve SUPERUSER; --' TO b; SELECT 1;`},
		{"ACL", `GRANT SELECT ON TABLE t TO b -- x;`},
		{"ACL", `GRANT SELECT ON TABLE t TO b /* ; */;`},
		{"ACL", `GRANT SELECT ON TABLE U&"t" TO b;`},
		{"ACL", `GRANT SELECT ON TABLE t TO b $x$;$x$;`},
		{"ACL", `GRANT SELECT ON TABLE "t TO b;`},
		{"ACL", "GRANT SELECT ON TABLE \"t\x00\" TO b;"},
		{"ACL", `SET SESSION AUTHORIZATION postgres, eve;`},
		{"DEFAULT ACL", `ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO b;`},
		{"COMMENT", `COMMENT ON TABLE t IS 'x';`},
		{"COMMENT", `COMMENT ON EXTENSION x IS 'x' || f();`},
		{"EVENT TRIGGER", `ALTER EVENT TRIGGER e OWNER TO x;`},
		{"PUBLICATION", `DROP PUBLICATION p;`},
		{"SUBSCRIPTION", `CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p;`},
		{"FUNCTION", `CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';`},
	} {
		if _, err := harmlessStatements(&Entry{Kind: tt[0], make: tt[1]}); err == nil {
			t.Errorf("%s: %s is executed", tt[0], tt[1])
		}
	}
	for text, ok := range map[string]bool{
		`CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA public;`:                     true,
		`CREATE EXTENSION IF NOT EXISTS "uuid-ossp" WITH SCHEMA "odd schema";`:           true,
		`CREATE EXTENSION IF NOT EXISTS x WITH SCHEMA public CASCADE;`:                   false,
		`CREATE EXTENSION IF NOT EXISTS x WITH SCHEMA public; ALTER ROLE eve SUPERUSER;`: false,
		`ALTER ROLE eve SUPERUSER;`:                                                  false,
		`CREATE EXTENSION IF NOT EXISTS 'x' WITH SCHEMA public;`:                     false,
		"CREATE EXTENSION IF NOT EXISTS x WITH SCHEMA s -- ;":                        false,
		`CREATE EXTENSION IF NOT EXISTS x WITH SCHEMA public VERSION '1';`:           false,
		`CREATE EXTENSION IF NOT EXISTS x WITH SCHEMA U&"public";`:                   false,
		`CREATE EXTENSION IF NOT EXISTS x WITH SCHEMA ( ALTER ROLE eve SUPERUSER );`: false,
	} {
		if _, _, err := ExtensionOf(&Entry{Kind: "EXTENSION", make: text}); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
	forged := Entry{Kind: "FUNCTION", drop: "DROP FUNCTION f(); ALTER ROLE eve SUPERUSER;"}
	if _, err := forged.alterName(); err == nil {
		t.Error("a name with a statement in it is taken")
	}
}

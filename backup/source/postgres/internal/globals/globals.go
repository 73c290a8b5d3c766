// Package globals is what a database needs of its server and pg_dump leaves out: roles,
// memberships, settings, and what belongs to the database itself. It reads them of a
// server, writes them as SQL, and makes the roles of another server the same.
package globals

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
)

// State are what a database needs of its server and pg_dump leaves out. As
// JSON they are a dump's second stream: always the same for the same state.
type State struct {
	Database Database     `json:"database"`
	Roles    []Role       `json:"roles"`
	Members  []membership `json:"members"`
	Settings []setting    `json:"settings"`
	// Parameters are what the roles may do with the server's parameters
	// (PostgreSQL 15).
	Parameters []parameterGrant `json:"parameters,omitempty"`
	// Bootstrap is the superuser that the server was made with.
	Bootstrap string `json:"bootstrap,omitempty"`
	// Passwords tells whether the roles' passwords could be read.
	Passwords bool `json:"passwords,omitempty"`
}

// parameterGrant is one privilege on a parameter of the server's. An empty
// Grantee is PUBLIC.
type parameterGrant struct {
	Parameter string `json:"parameter"`
	grant
}

// Database belong to the database itself.
type Database struct {
	Owner    string `json:"owner"`
	Encoding string `json:"encoding"`
	Collate  string `json:"collate"`
	CType    string `json:"ctype"`
	// Provider is c (libc), i (icu) or b (builtin); Locale and Rules are those
	// that the latter two have of their own.
	Provider string  `json:"provider"`
	Locale   string  `json:"locale,omitempty"`
	Rules    string  `json:"rules,omitempty"`
	Limit    int     `json:"connection_limit"`
	Template bool    `json:"template,omitempty"`
	Comment  string  `json:"comment,omitempty"`
	ACL      bool    `json:"acl"` // whether Grants replace the default privileges
	Grants   []grant `json:"grants,omitempty"`
}

// grant is one privilege on the database. An empty Grantee is PUBLIC.
type grant struct {
	Grantee   string `json:"grantee"`
	Privilege string `json:"privilege"`
	Grantable bool   `json:"grantable,omitempty"`
}

// Role is one role. Password is its verifier, where that could be read.
type Role struct {
	Name        string  `json:"name"`
	Super       bool    `json:"superuser,omitempty"`
	Inherit     bool    `json:"inherit"`
	CreateRole  bool    `json:"create_role,omitempty"`
	CreateDB    bool    `json:"create_db,omitempty"`
	Login       bool    `json:"login,omitempty"`
	Replication bool    `json:"replication,omitempty"`
	BypassRLS   bool    `json:"bypass_rls,omitempty"`
	Limit       int     `json:"connection_limit"`
	Password    *string `json:"password,omitempty"`
	ValidUntil  *string `json:"valid_until,omitempty"`
	Comment     *string `json:"comment,omitempty"`
	// Closed means that all of the role's members are here too.
	Closed bool `json:"closed,omitempty"`
}

// membership makes Member a member of Role. Inherit and Set are nil before
// PostgreSQL 16, which brought them.
type membership struct {
	Role    string `json:"role"`
	Member  string `json:"member"`
	Admin   bool   `json:"admin,omitempty"`
	Inherit *bool  `json:"inherit,omitempty"`
	Set     *bool  `json:"set,omitempty"`
}

// setting is one parameter set for a role, for the database, or for a role in
// the database. An empty Role is all roles.
type setting struct {
	Role       string `json:"role,omitempty"`
	InDatabase bool   `json:"in_database,omitempty"`
	Name       string `json:"name"`
	Value      string `json:"value"`
}

// Read gathers them in the current database: the roles that own
// anything in it, have a privilege, a policy or a setting in it, or connect to
// it as user; then their members, and the roles that all these are members of.
func Read(ctx context.Context, conn *pgx.Conn, user string) (g State, err error) {
	if g.Database, err = readDatabase(ctx, conn); err != nil {
		return g, err
	}
	use, err := rolesInUse(ctx, conn, user)
	if err != nil {
		return g, err
	}
	if err = g.readServer(ctx, conn, use.all); err != nil {
		return g, err
	}
	if g.Roles, err = readRoles(ctx, conn, g.Passwords, use); err != nil {
		return g, err
	}
	if g.Members, err = pgclient.Collect[membership](ctx, conn, sqlMembers, use.all); err != nil {
		return g, err
	}
	g.Settings, err = pgclient.Collect[setting](ctx, conn, sqlSettings, use.all)
	return g, err
}

// readServer reads what the server as a whole has.
func (g *State) readServer(ctx context.Context, conn pgclient.Session, oids []uint32) error {
	var parameters bool
	err := conn.QueryRow(ctx, `
		SELECT pg_get_userbyid(10), has_table_privilege('pg_catalog.pg_authid', 'SELECT'), to_regclass('pg_catalog.pg_parameter_acl') IS NOT NULL`).
		Scan(&g.Bootstrap, &g.Passwords, &parameters)
	if err != nil || !parameters {
		return err
	}
	g.Parameters, err = pgclient.Collect[parameterGrant](ctx, conn, `
		SELECT p.parname, coalesce(r.rolname, ''), a.privilege_type, bool_or(a.is_grantable)
		FROM pg_catalog.pg_parameter_acl p, aclexplode(p.paracl) a LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
		WHERE a.grantee = ANY ($1) AND a.grantee <> 10
		GROUP BY 1, 2, 3 ORDER BY 1, 2, 3`, oids)
	return err
}

func readDatabase(ctx context.Context, conn *pgx.Conn) (d Database, err error) {
	// The columns of providers and locales come and go between versions; as
	// JSON they may be missing.
	err = conn.QueryRow(ctx, `
		SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype,
			coalesce(j->>'datlocprovider', 'c'),
			coalesce(j->>'datlocale', j->>'daticulocale', ''), coalesce(j->>'daticurules', ''),
			datconnlimit, datistemplate, coalesce(shobj_description(oid, 'pg_database'), ''), datacl IS NOT NULL
		FROM (SELECT *, to_jsonb(d) AS j FROM pg_catalog.pg_database d WHERE datname = current_database()) d`).
		Scan(&d.Owner, &d.Encoding, &d.Collate, &d.CType, &d.Provider, &d.Locale, &d.Rules, &d.Limit, &d.Template, &d.Comment, &d.ACL)
	if err != nil {
		return d, err
	}
	d.Grants, err = pgclient.Collect[grant](ctx, conn, `
		SELECT coalesce(r.rolname, ''), a.privilege_type, bool_or(a.is_grantable)
		FROM pg_catalog.pg_database d, aclexplode(d.datacl) a LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
		WHERE d.datname = current_database()
		GROUP BY 1, 2 ORDER BY 1, 2`)
	return d, err
}

// inUse are roles, and those of them whose members are all among them.
type inUse struct{ all, closed []uint32 }

func rolesInUse(ctx context.Context, conn *pgx.Conn, user string) (u inUse, err error) {
	rows, err := conn.Query(ctx, sqlRolesInUse, user)
	if err != nil {
		return u, err
	}
	var oid uint32
	var closed bool
	_, err = pgx.ForEachRow(rows, []any{&oid, &closed}, func() error {
		u.all = append(u.all, oid)
		if closed {
			u.closed = append(u.closed, oid)
		}
		return nil
	})
	return u, err
}

func readRoles(ctx context.Context, conn pgclient.Session, passwords bool, u inUse) ([]Role, error) {
	from, password := "pg_roles", "NULL"
	if passwords {
		from, password = "pg_authid", "rolpassword"
	}
	return pgclient.Collect[Role](ctx, conn, `
		SELECT rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls,
			rolconnlimit, `+password+`, rolvaliduntil::text, shobj_description(oid, 'pg_authid'), oid = ANY ($2)
		FROM pg_catalog.`+from+` WHERE oid = ANY ($1) AND rolname !~ '^pg_' ORDER BY rolname`, u.all, u.closed)
}

// sqlRolesInUse begins with what pg_shdepend records for this database. It
// does not record the bootstrap superuser (10), nor who merely connects.
const sqlRolesInUse = `
WITH RECURSIVE db AS (
	SELECT oid, datdba FROM pg_catalog.pg_database WHERE datname = current_database()
), direct AS (
	SELECT s.refobjid AS oid FROM pg_catalog.pg_shdepend s, db
	WHERE s.refclassid = 'pg_catalog.pg_authid'::regclass
		AND (s.dbid = db.oid OR s.classid = 'pg_catalog.pg_database'::regclass AND s.objid = db.oid)
	UNION SELECT datdba FROM db
	UNION SELECT s.setrole FROM pg_catalog.pg_db_role_setting s, db WHERE s.setdatabase = db.oid AND s.setrole <> 0
	UNION SELECT oid FROM pg_catalog.pg_roles WHERE rolname = $1
	UNION SELECT u.umuser FROM pg_catalog.pg_user_mappings u WHERE u.umuser <> 0
	UNION SELECT s.subowner FROM pg_catalog.pg_subscription s, db WHERE s.subdbid = db.oid
	UNION SELECT 10::oid WHERE EXISTS (
		SELECT FROM (
			SELECT tableoid, oid FROM pg_catalog.pg_class WHERE relowner = 10
			UNION ALL SELECT tableoid, oid FROM pg_catalog.pg_namespace WHERE nspowner = 10
			UNION ALL SELECT tableoid, oid FROM pg_catalog.pg_proc WHERE proowner = 10
			UNION ALL SELECT tableoid, oid FROM pg_catalog.pg_type WHERE typowner = 10
			UNION ALL SELECT tableoid, oid FROM pg_catalog.pg_largeobject_metadata WHERE lomowner = 10
		) o
		WHERE o.oid >= 16384 AND NOT EXISTS (
			SELECT FROM pg_catalog.pg_depend e WHERE e.classid = o.tableoid AND e.objid = o.oid AND e.deptype = 'e'))
), members AS (
	SELECT oid FROM direct
	UNION SELECT m.member FROM pg_catalog.pg_auth_members m JOIN members ON m.roleid = members.oid
), used AS (
	SELECT oid FROM members
	UNION SELECT m.roleid FROM pg_catalog.pg_auth_members m JOIN used ON m.member = used.oid
)
SELECT oid, oid IN (SELECT oid FROM members) FROM used ORDER BY oid`

const sqlMembers = `
SELECT pg_get_userbyid(roleid), pg_get_userbyid(member), bool_or(admin_option),
	bool_or((to_jsonb(m)->>'inherit_option')::bool), bool_or((to_jsonb(m)->>'set_option')::bool)
FROM pg_catalog.pg_auth_members m
WHERE roleid = ANY ($1) AND member = ANY ($1)
GROUP BY roleid, member ORDER BY 1, 2`

const sqlSettings = `
SELECT coalesce(r.rolname, ''), s.setdatabase <> 0, split_part(c.config, '=', 1), substr(c.config, strpos(c.config, '=') + 1)
FROM pg_catalog.pg_db_role_setting s LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole,
	unnest(s.setconfig) WITH ORDINALITY AS c(config, place)
WHERE s.setdatabase = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
	OR s.setdatabase = 0 AND s.setrole = ANY ($1) AND r.rolname !~ '^pg_'
ORDER BY 1, 2, c.place`

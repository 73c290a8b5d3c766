package globals

import (
	"fmt"
	"slices"
	"strings"

	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
)

// create returns the statements that create the role with its own settings.
func (g *State) create(r Role) []string {
	name := pgclient.Ident(r.Name)
	var b strings.Builder
	b.WriteString("CREATE ROLE " + name + " WITH")
	// The defaults are left out: an administrator who is no superuser may not
	// even spell some of them.
	for _, o := range []struct {
		on     bool
		option string
	}{
		{r.Super, "SUPERUSER"}, {!r.Inherit, "NOINHERIT"}, {r.CreateRole, "CREATEROLE"}, {r.CreateDB, "CREATEDB"},
		{r.Login, "LOGIN"}, {r.Replication, "REPLICATION"}, {r.BypassRLS, "BYPASSRLS"},
	} {
		if o.on {
			b.WriteString(" " + o.option)
		}
	}
	fmt.Fprintf(&b, " CONNECTION LIMIT %d", r.Limit)
	if r.Password != nil {
		b.WriteString(" PASSWORD " + pgclient.Literal(*r.Password))
	}
	if r.ValidUntil != nil {
		b.WriteString(" VALID UNTIL " + pgclient.Literal(*r.ValidUntil))
	}
	out := []string{b.String()}
	if r.Comment != nil {
		out = append(out, "COMMENT ON ROLE "+name+" IS "+pgclient.Literal(*r.Comment))
	}
	for _, s := range g.Settings {
		if s.Role == r.Name && !s.InDatabase {
			out = append(out, "ALTER ROLE "+name+s.clause())
		}
	}
	return out
}

// grant returns the statement that makes the membership, for a server of the
// given major version.
func (m membership) grant(major int) string {
	sql := "GRANT " + pgclient.Ident(m.Role) + " TO " + pgclient.Ident(m.Member)
	var with []string
	if m.Admin {
		with = append(with, "ADMIN OPTION")
	}
	if major >= 16 && m.Inherit != nil && m.Set != nil {
		with = []string{
			fmt.Sprintf("ADMIN %t", m.Admin), fmt.Sprintf("INHERIT %t", *m.Inherit), fmt.Sprintf("SET %t", *m.Set),
		}
	}
	if len(with) > 0 {
		sql += " WITH " + strings.Join(with, ", ")
	}
	return sql
}

// listSettings hold lists of names, each quoted on its own; all in one pair of
// quotes they would be one strange name. (Flag GUC_LIST_QUOTE in the server.)
var listSettings = []string{
	"local_preload_libraries", "search_path", "session_preload_libraries",
	"shared_preload_libraries", "temp_tablespaces", "unix_socket_directories",
}

func (s setting) clause() string {
	value := pgclient.Literal(s.Value)
	if slices.Contains(listSettings, strings.ToLower(s.Name)) {
		var names []string
		for _, name := range splitNames(s.Value) {
			names = append(names, pgclient.Literal(name))
		}
		value = strings.Join(names, ", ")
		if value == "" {
			value = "''"
		}
	}
	return " SET " + pgclient.Ident(s.Name) + " TO " + value
}

// splitNames splits a list of names, of which some are in double quotes.
func splitNames(list string) []string {
	var names []string
	var name strings.Builder
	quoted, some := false, false
	for i := 0; i < len(list); i++ {
		switch c := list[i]; {
		case c == '"' && quoted && i+1 < len(list) && list[i+1] == '"':
			name.WriteByte(c)
			i++
		case c == '"':
			quoted, some = !quoted, true
		case c == ',' && !quoted:
			names = append(names, name.String())
			name.Reset()
			some = false
		case c == ' ' && !quoted:
		default:
			name.WriteByte(c)
			some = true
		}
	}
	if some || len(names) > 0 {
		names = append(names, name.String())
	}
	return names
}

// Create returns the statement that creates a database like the dumped
// one, empty, under the given name.
func (d *Database) Create(name string) string {
	sql := fmt.Sprintf("CREATE DATABASE %s WITH TEMPLATE template0 OWNER %s ENCODING %s LC_COLLATE %s LC_CTYPE %s",
		pgclient.Ident(name), pgclient.Ident(d.Owner), pgclient.Literal(d.Encoding), pgclient.Literal(d.Collate), pgclient.Literal(d.CType))
	switch d.Provider {
	case "i":
		sql += " LOCALE_PROVIDER icu ICU_LOCALE " + pgclient.Literal(d.Locale)
		if d.Rules != "" {
			sql += " ICU_RULES " + pgclient.Literal(d.Rules)
		}
	case "b":
		sql += " LOCALE_PROVIDER builtin BUILTIN_LOCALE " + pgclient.Literal(d.Locale)
	}
	return sql
}

// Properties returns the statements that set what pg_restore does not, on the
// database with the given name.
func (g *State) Properties(name string) []string {
	d := &g.Database
	db := pgclient.Ident(name)
	out := []string{fmt.Sprintf("ALTER DATABASE %s CONNECTION LIMIT %d IS_TEMPLATE %t", db, d.Limit, d.Template)}
	if d.Comment != "" {
		out = append(out, "COMMENT ON DATABASE "+db+" IS "+pgclient.Literal(d.Comment))
	}
	for _, s := range g.Settings {
		switch {
		case s.InDatabase && s.Role == "":
			out = append(out, "ALTER DATABASE "+db+s.clause())
		case s.InDatabase:
			out = append(out, "ALTER ROLE "+pgclient.Ident(s.Role)+" IN DATABASE "+db+s.clause())
		}
	}
	if !d.ACL {
		return out
	}
	out = append(out, "REVOKE ALL ON DATABASE "+db+" FROM PUBLIC, "+pgclient.Ident(d.Owner))
	for _, p := range d.Grants {
		to := "PUBLIC"
		if p.Grantee != "" {
			to = pgclient.Ident(p.Grantee)
		}
		sql := "GRANT " + p.Privilege + " ON DATABASE " + db + " TO " + to
		if p.Grantable && p.Grantee != d.Owner {
			sql += " WITH GRANT OPTION"
		}
		out = append(out, sql)
	}
	return out
}

// Script returns everything as one script, for a person.
func (g *State) Script(database string) string {
	var b strings.Builder
	b.WriteString("-- Roles and database properties that pg_dump leaves out. Run as a superuser, before\n" +
		"-- pg_restore --exit-on-error --dbname=" + database + " dump.pgc\n")
	write := func(sql ...string) {
		for _, s := range sql {
			b.WriteString(s + ";\n")
		}
	}
	if g.Bootstrap != "" {
		b.WriteString("-- The server's own superuser was " + pgclient.Ident(g.Bootstrap) + ": a server that has another one needs a role of that name.\n")
	}
	for _, r := range g.Roles {
		write(g.create(r)...)
	}
	for _, m := range g.Members {
		write(m.grant(0))
	}
	for _, p := range g.Parameters {
		write(p.statement())
	}
	write(g.Database.Create(database))
	write(g.Properties(database)...)
	return b.String()
}

package globals

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
)

// standsIn is the comment of a role that a restore made in the place of a
// superuser of another server's. It has neither that power nor a login.
const standsIn = "made by understudy: a superuser where the backup was made"

// powers are predefined roles whose members can do what a superuser can.
var powers = []string{"pg_execute_server_program", "pg_read_server_files", "pg_write_server_files"}

// powerful tells whether a member of the role can do what a superuser can.
func (g *State) powerful(name string) bool {
	r := g.role(name)
	return slices.Contains(powers, name) || name == g.Bootstrap || r != nil && r.Super
}

// Mighty names the roles, and the members of roles, that have a superuser's power here
// and may lack it on another server.
func (g *State) Mighty() (names []string) {
	for _, r := range g.Roles {
		if r.Super && r.Name != g.Bootstrap {
			names = append(names, r.Name)
		}
	}
	for _, m := range g.Members {
		if g.powerful(m.Role) && !g.powerful(m.Member) {
			names = append(names, m.Member+" in "+m.Role)
		}
	}
	return names
}

// role returns the role of a name; nil for none.
func (g *State) role(name string) *Role {
	i := slices.IndexFunc(g.Roles, func(r Role) bool { return r.Name == name })
	if i < 0 {
		return nil
	}
	return &g.Roles[i]
}

// member returns the membership; nil for none.
func (g *State) member(role, member string) *membership {
	i := slices.IndexFunc(g.Members, func(m membership) bool { return m.Role == role && m.Member == member })
	if i < 0 {
		return nil
	}
	return &g.Members[i]
}

// settings are those of a role in every database.
func (g *State) settings(role string) []setting {
	return slices.DeleteFunc(slices.Clone(g.Settings), func(s setting) bool { return s.Role != role || s.InDatabase })
}

// roleChange is one statement about a role, and what it is for: the statement
// itself may hold a password.
type roleChange struct{ what, sql string }

func applyChanges(ctx context.Context, conn pgclient.Session, changes []roleChange) error {
	for _, c := range changes {
		if err := pgclient.Execute(ctx, conn, c.sql); err != nil {
			return fmt.Errorf("%s: %w", c.what, pgclient.Explained(err))
		}
	}
	return nil
}

// Aligner makes a server's roles what a backup says of them. It never changes
// the server's own superuser, nor the administrator as whom it works, and gives
// a superuser's power to nobody who lacks it here, unless that is trusted.
type Aligner struct {
	want     *State
	here     State // what the server has of the same roles
	grantors map[membership][]string
	Admin    string
	Super    bool // the administrator is a superuser
	major    int
	trusted  bool
}

// readAligner reads what the server has of the backup's roles.
func readAligner(ctx context.Context, conn pgclient.Session, major int, want *State, trusted bool) (*Aligner, error) {
	a := &Aligner{want: want, major: major, trusted: trusted}
	if err := a.read(ctx, conn); err != nil {
		return nil, fmt.Errorf("read roles of the server: %w", err)
	}
	return a, nil
}

func (a *Aligner) read(ctx context.Context, conn pgclient.Session) error {
	names := []string{a.want.Bootstrap}
	for _, r := range a.want.Roles {
		names = append(names, r.Name)
	}
	for _, m := range a.want.Members {
		names = append(names, m.Role, m.Member)
	}
	var oids []uint32
	err := conn.QueryRow(ctx, `
		SELECT rolname, rolsuper, ARRAY(SELECT oid FROM pg_catalog.pg_roles WHERE rolname = ANY ($1))
		FROM pg_catalog.pg_roles WHERE rolname = current_user`, names).Scan(&a.Admin, &a.Super, &oids)
	if err != nil {
		return err
	}
	a.here = State{}
	if err := a.here.readServer(ctx, conn, oids); err != nil {
		return err
	}
	if a.here.Roles, err = readRoles(ctx, conn, a.here.Passwords, inUse{all: oids, closed: oids}); err != nil {
		return err
	}
	if a.here.Settings, err = pgclient.Collect[setting](ctx, conn, sqlRoleSettings, oids); err != nil {
		return err
	}
	return a.readMembers(ctx, conn, oids)
}

func (a *Aligner) readMembers(ctx context.Context, conn pgclient.Session, oids []uint32) error {
	type held struct {
		membership
		Grantors []string
	}
	all, err := pgclient.Collect[held](ctx, conn, sqlMembersOfAny, oids)
	a.grantors = make(map[membership][]string)
	for _, h := range all {
		a.here.Members = append(a.here.Members, h.membership)
		a.grantors[membership{Role: h.Role, Member: h.Member}] = h.Grantors
	}
	return err
}

const sqlMembersOfAny = `
SELECT pg_get_userbyid(roleid)::text, pg_get_userbyid(member)::text, bool_or(admin_option),
	bool_or((to_jsonb(m)->>'inherit_option')::bool), bool_or((to_jsonb(m)->>'set_option')::bool),
	array_agg(DISTINCT pg_get_userbyid(grantor)::text)
FROM pg_catalog.pg_auth_members m
WHERE roleid = ANY ($1) OR member = ANY ($1)
GROUP BY roleid, member ORDER BY 1, 2`

const sqlRoleSettings = `
SELECT r.rolname::text, false, split_part(c.config, '=', 1), substr(c.config, strpos(c.config, '=') + 1)
FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_roles r ON r.oid = s.setrole,
	unnest(s.setconfig) WITH ORDINALITY AS c(config, place)
WHERE s.setdatabase = 0 AND s.setrole = ANY ($1) ORDER BY 1, c.place`

// own tells whether a role is this server's own affair.
func (a *Aligner) own(name string) bool { return name == a.Admin || name == a.here.Bootstrap }

// lacking tells whether a role had a superuser's power where the backup was
// made, and has it not here, nor gets it.
func (a *Aligner) lacking(name string) bool {
	if a.trusted || !a.want.powerful(name) || slices.Contains(powers, name) {
		return false
	}
	r := a.here.role(name)
	return r == nil || !r.Super
}

// missing are the statements that make the roles that this server lacks.
func (a *Aligner) missing() (changes []roleChange) {
	for _, r := range a.want.Roles {
		if a.here.role(r.Name) == nil && !a.lacking(r.Name) {
			changes = append(changes, creation(r.Name, a.want.create(r)...)...)
		}
	}
	return changes
}

// substitutes are those that make, in the place of superusers whom this server
// lacks, roles that can do nothing: a restore needs their names.
func (a *Aligner) substitutes() (changes []roleChange) {
	for _, name := range a.want.superusers() {
		if a.here.role(name) == nil && a.lacking(name) {
			changes = append(changes, creation(name, "CREATE ROLE "+pgclient.Ident(name), "COMMENT ON ROLE "+pgclient.Ident(name)+" IS "+pgclient.Literal(standsIn))...)
			if !a.Super { // who gives it what it owned
				changes = append(changes, creation(name, "GRANT "+pgclient.Ident(name)+" TO CURRENT_USER")...)
			}
		}
	}
	return changes
}

// SuperHere tells whether a role of the backup is a superuser on this server, or
// stands in for one.
func (a *Aligner) SuperHere(name string) bool {
	r := a.here.role(name)
	return r != nil && r.Super || name == a.Admin && a.Super || slices.Contains(a.StandIns(), name)
}

// superusers are the names of those in use, and of the server's own.
func (g *State) superusers() (names []string) {
	for _, r := range g.Roles {
		if r.Super && r.Name != g.Bootstrap {
			names = append(names, r.Name)
		}
	}
	if g.Bootstrap != "" {
		names = append(names, g.Bootstrap)
	}
	return names
}

func creation(name string, statements ...string) (changes []roleChange) {
	for _, sql := range statements {
		changes = append(changes, roleChange{fmt.Sprintf("create role %q", name), sql})
	}
	return changes
}

// StandIns are the roles here that stand in for another server's superusers.
func (a *Aligner) StandIns() (names []string) {
	for _, r := range a.here.Roles {
		if r.Comment != nil && *r.Comment == standsIn && !r.Login && a.lacking(r.Name) {
			names = append(names, r.Name)
		}
	}
	return names
}

// joins are the memberships that are missing here, or are others.
func (a *Aligner) joins() (changes []roleChange) {
	for _, m := range a.want.Members {
		here := a.here.member(m.Role, m.Member)
		switch {
		case a.own(m.Member), a.lacking(m.Role), a.lacking(m.Member):
		case here == nil && !a.trusted && a.here.powerful(m.Role):
		case here == nil || !m.sameAs(*here, a.major):
			changes = append(changes, roleChange{fmt.Sprintf("make %q a member of %q", m.Member, m.Role), m.grant(a.major)})
		}
	}
	return changes
}

// leaves are the memberships here that the backup does not have, or has in
// another form. Of a role that the backup has it has all that the role is a
// member of, and, of those that are used in the database, all members.
func (a *Aligner) leaves() (changes []roleChange) {
	for _, m := range a.here.Members {
		want, role := a.want.member(m.Role, m.Member), a.want.role(m.Role)
		known := want != nil || a.want.role(m.Member) != nil || role != nil && role.Closed
		if a.own(m.Member) || !known || want != nil && want.sameAs(m, a.major) {
			continue
		}
		what := fmt.Sprintf("end that %q is a member of %q", m.Member, m.Role)
		sql := "REVOKE " + pgclient.Ident(m.Role) + " FROM " + pgclient.Ident(m.Member)
		if a.major < 16 {
			changes = append(changes, roleChange{what, sql})
			continue
		}
		for _, g := range a.grantors[membership{Role: m.Role, Member: m.Member}] {
			changes = append(changes, roleChange{what, sql + " GRANTED BY " + pgclient.Ident(g) + " CASCADE"})
		}
	}
	return changes
}

// sameAs compares two memberships as far as a server of the given major
// version tells them apart.
func (m membership) sameAs(other membership, major int) bool {
	same := func(a, b *bool) bool { return major < 16 || a == nil || b == nil || *a == *b }
	return m.Admin == other.Admin && same(m.Inherit, other.Inherit) && same(m.Set, other.Set)
}

// attributes are what is set of the roles that exist.
func (a *Aligner) attributes() (changes []roleChange) {
	for _, want := range a.want.Roles {
		here := a.here.role(want.Name)
		if here == nil || a.own(want.Name) || here.Comment != nil && *here.Comment == standsIn {
			continue
		}
		if a.lacking(want.Name) {
			want.Super, want.Login = false, want.Login && here.Login
		}
		name, what := pgclient.Ident(want.Name), fmt.Sprintf("change role %q", want.Name)
		change := func(sql string) { changes = append(changes, roleChange{what, sql}) }
		if options := a.options(want, *here); options != "" {
			change("ALTER ROLE " + name + " WITH" + options)
		}
		if comment := orEmpty(want.Comment); comment != orEmpty(here.Comment) {
			change("COMMENT ON ROLE " + name + " IS " + pgclient.Literal(comment))
		}
		if settings := a.want.settings(want.Name); !slices.Equal(settings, a.here.settings(want.Name)) {
			change("ALTER ROLE " + name + " RESET ALL")
			for _, s := range settings {
				change("ALTER ROLE " + name + s.clause())
			}
		}
	}
	return changes
}

// options are those of ALTER ROLE that differ: a role that is no superuser may
// not even spell some of them.
func (a *Aligner) options(want, here Role) string {
	var b strings.Builder
	for _, o := range []struct {
		want, here bool
		option     string
	}{
		{want.Super, here.Super, "SUPERUSER"}, {want.Inherit, here.Inherit, "INHERIT"}, {want.CreateRole, here.CreateRole, "CREATEROLE"},
		{want.CreateDB, here.CreateDB, "CREATEDB"}, {want.Login, here.Login, "LOGIN"}, {want.Replication, here.Replication, "REPLICATION"},
		{want.BypassRLS, here.BypassRLS, "BYPASSRLS"},
	} {
		switch {
		case o.want && !o.here:
			b.WriteString(" " + o.option)
		case o.here && !o.want:
			b.WriteString(" NO" + o.option)
		}
	}
	if want.Limit != here.Limit {
		fmt.Fprintf(&b, " CONNECTION LIMIT %d", want.Limit)
	}
	switch {
	case want.Password != nil && (here.Password == nil || *here.Password != *want.Password):
		b.WriteString(" PASSWORD " + pgclient.Literal(*want.Password))
	case want.Password == nil && here.Password != nil && a.want.Passwords:
		b.WriteString(" PASSWORD NULL")
	}
	if until := orInfinity(want.ValidUntil); until != orInfinity(here.ValidUntil) {
		b.WriteString(" VALID UNTIL " + pgclient.Literal(until))
	}
	return b.String()
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func orInfinity(s *string) string {
	if s == nil {
		return "infinity"
	}
	return *s
}

// parameters are what the roles may do with the server's parameters.
func (a *Aligner) parameters() (changes []roleChange) {
	if a.want.Bootstrap == "" || a.major < 15 {
		return nil // a backup of an earlier version does not know
	}
	ours := func(g parameterGrant) bool {
		return a.want.role(g.Grantee) != nil && a.here.role(g.Grantee) != nil && !a.own(g.Grantee) && !a.lacking(g.Grantee)
	}
	for _, g := range a.here.Parameters {
		if ours(g) && !slices.Contains(a.want.Parameters, g) {
			changes = append(changes, roleChange{
				fmt.Sprintf("end what role %q may do with parameter %s", g.Grantee, g.Parameter),
				"REVOKE " + g.Privilege + " ON PARAMETER " + parameterName(g.Parameter) + " FROM " + pgclient.Ident(g.Grantee) + " CASCADE",
			})
		}
	}
	for _, g := range a.want.Parameters {
		if ours(g) && !slices.Contains(a.here.Parameters, g) {
			changes = append(changes, roleChange{fmt.Sprintf("let role %q use parameter %s", g.Grantee, g.Parameter), g.statement()})
		}
	}
	return changes
}

// statement grants it.
func (g parameterGrant) statement() string {
	sql := "GRANT " + g.Privilege + " ON PARAMETER " + parameterName(g.Parameter) + " TO " + pgclient.Ident(g.Grantee)
	if g.Grantable {
		sql += " WITH GRANT OPTION"
	}
	return sql
}

// parameterName quotes a name that may have a prefix.
func parameterName(name string) string { return pgx.Identifier(strings.Split(name, ".")).Sanitize() }

// MakeMissing makes what a restore needs: the roles that this server lacks, others in
// the place of superusers that it lacks, and memberships.
func MakeMissing(ctx context.Context, tx pgclient.Session, major int, want *State, trusted bool) (*Aligner, error) {
	a, err := readAligner(ctx, tx, major, want, trusted)
	if err != nil {
		return nil, err
	}
	if err := applyChanges(ctx, tx, append(a.missing(), a.substitutes()...)); err != nil {
		return nil, err
	}
	if err := a.read(ctx, tx); err != nil {
		return nil, err
	}
	return a, applyChanges(ctx, tx, a.joins())
}

// ReadHere reads what the server has of the backup's roles.
func ReadHere(ctx context.Context, conn pgclient.Session, major int, want *State) (*State, error) {
	a, err := readAligner(ctx, conn, major, want, false)
	if err != nil {
		return nil, err
	}
	return &a.here, nil
}

// Align makes the server's roles what the backup says. What it takes away
// comes first, and what is left is read again then.
func Align(ctx context.Context, tx pgclient.Session, major int, want *State, trusted bool) error {
	a, err := readAligner(ctx, tx, major, want, trusted)
	if err != nil {
		return err
	}
	changes := append(a.missing(), a.leaves()...)
	if len(changes) > 0 {
		if err := applyChanges(ctx, tx, changes); err != nil {
			return err
		}
		if err := a.read(ctx, tx); err != nil {
			return err
		}
	}
	changes = append(a.attributes(), a.parameters()...)
	return applyChanges(ctx, tx, append(changes, a.joins()...))
}

// Local is what the dump says, for this server: what belonged to a superuser
// whom it lacks belongs to the administrator.
func (a *Aligner) Local() *State {
	g := *a.want
	in := func(name string) bool { return slices.Contains(a.StandIns(), name) }
	if in(g.Database.Owner) {
		g.Database.Owner = a.Admin
	}
	g.Database.Grants = slices.DeleteFunc(slices.Clone(g.Database.Grants), func(p grant) bool { return in(p.Grantee) })
	g.Settings = slices.DeleteFunc(slices.Clone(g.Settings), func(s setting) bool { return in(s.Role) })
	return &g
}

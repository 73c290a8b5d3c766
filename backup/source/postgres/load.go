package postgres

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source/internal/program"
)

// loading is one restore of a dump into the staging database.
type loading struct {
	*Source
	tool  tool
	major int
	plan  *restorePlan
	roles *aligner
	who   *restorer
	conn  *pgx.Conn // the administrator's, in the staging database
	made  []string  // schemas that extensions needed
	said  []string  // what pg_restore warned of
}

// load fills the staging database, and returns what pg_restore warned of.
func (p *Source) load(ctx context.Context, l *loading) ([]string, error) {
	l.Source = p
	err := p.admin.to(p.staging()).with(ctx, func(conn *pgx.Conn) (err error) {
		l.conn = conn
		if l.major, err = serverMajor(conn); err != nil {
			return err
		}
		if err := l.makeExtensions(ctx); err != nil {
			return err
		}
		for _, run := range l.plan.runs() {
			if err := l.run(ctx, run); err != nil {
				return err
			}
		}
		// The planner needs statistics from the first query on. They are
		// gathered while all is the restorer's, for expressions in indexes
		// are computed as the owner of their table.
		if err := l.who.url.to(l.staging()).with(ctx, func(conn *pgx.Conn) error { return execute(ctx, conn, "ANALYZE") }); err != nil {
			return fmt.Errorf("analyse: %w", err)
		}
		return l.handOver(ctx)
	})
	return l.said, err
}

// handOver gives everything to its owners, and makes what the administrator
// makes.
func (l *loading) handOver(ctx context.Context) error {
	// What a superuser owns stays the restorer's until it is computed.
	mine := func(e *tocEntry) bool { return e.kind == "MATERIALIZED VIEW" && l.superHere(e.owner) }
	if err := l.giveOwners(ctx, func(e *tocEntry) bool { return !mine(e) }); err != nil {
		return err
	}
	late := l.lateGrants(mine)
	if err := l.execute(ctx, slices.DeleteFunc(slices.Clone(l.plan.grants), func(e *tocEntry) bool { return slices.Contains(late, e) })); err != nil {
		return err
	}
	if err := l.computeViews(ctx, slices.ContainsFunc(l.plan.owned, mine)); err != nil {
		return err
	}
	if err := l.giveOwners(ctx, mine); err != nil {
		return err
	}
	if err := l.execute(ctx, late); err != nil {
		return err
	}
	if err := l.run(ctx, l.plan.late); err != nil {
		return err
	}
	if err := eachRole(ctx, l.conn, "REASSIGN OWNED BY %s TO CURRENT_USER", l.roles.standIns()); err != nil {
		return err
	}
	return l.execute(ctx, l.plan.steps)
}

// makeExtensions makes them in the database that is still empty, so that their
// scripts meet nothing of the dump's, and lets the restorer use what belongs to
// them.
func (l *loading) makeExtensions(ctx context.Context) error {
	for _, e := range l.plan.extensions {
		name, schema, err := extensionOf(e)
		if err != nil {
			return err
		}
		if err := l.makeSchema(ctx, schema); err != nil {
			return err
		}
		if err := execute(ctx, l.conn, "CREATE EXTENSION IF NOT EXISTS "+ident(name)+" WITH SCHEMA "+ident(schema)); err != nil {
			return fmt.Errorf("make extension %q: %w", name, explained(err))
		}
	}
	if err := l.who.arrive(ctx, l.conn); err != nil {
		return fmt.Errorf("let role %q use the extensions: %w", l.who.role, explained(err))
	}
	return nil
}

// makeSchema makes one that an extension lies in, if the dump has it.
func (l *loading) makeSchema(ctx context.Context, name string) error {
	in := func(e tocEntry) bool { return e.kind == "SCHEMA" && e.tag == name }
	if name == "public" || slices.Contains(l.made, name) || !slices.ContainsFunc(l.plan.entries, in) {
		return nil
	}
	if err := execute(ctx, l.conn, "CREATE SCHEMA "+ident(name)+" AUTHORIZATION "+ident(l.who.role)); err != nil {
		return fmt.Errorf("make schema %q: %w", name, explained(err))
	}
	l.made = append(l.made, name)
	return nil
}

// run runs pg_restore, as the restorer or, for what is trusted, as the
// administrator.
func (l *loading) run(ctx context.Context, run restoreRun) error {
	if len(run.entries) == 0 {
		return nil
	}
	list := filepath.Join(l.cfg.Scratch, "dump.list")
	made := func(e *tocEntry) bool { return e.kind == "SCHEMA" && slices.Contains(l.made, e.tag) }
	if err := os.WriteFile(list, []byte(run.list(made)), 0o600); err != nil {
		return err
	}
	defer func() { _ = fsx.RemoveFiles(list) }()
	url := l.who.url.to(l.staging())
	if run.trusted {
		url = l.admin.to(l.staging())
	}
	said, err := program.Program{
		Argv: []string{
			l.tool.path, "--dbname=" + url.public(), "--jobs=" + strconv.Itoa(l.cfg.Jobs), "--use-list=" + list,
			"--exit-on-error", "--no-tablespaces", "--no-owner", "--enable-row-security", "--no-password", l.archive(),
		},
		Env: url.environ(l.major),
	}.RunSaid(ctx)
	if err != nil {
		return l.plan.advise(err)
	}
	l.said = append(l.said, remarks(said)...)
	if !run.trusted || l.who.admin {
		return nil
	}
	return l.giveTo(ctx, l.who.role, run.entries)
}

// giveTo gives what the administrator has made to the restorer.
func (l *loading) giveTo(ctx context.Context, role string, entries []*tocEntry) error {
	for _, e := range entries {
		if slices.Contains(l.plan.owned, e) {
			if err := l.setOwner(ctx, e, role); err != nil {
				return err
			}
		}
	}
	return nil
}

// giveOwners gives objects to their owners: sequences last, for most follow
// their tables.
func (l *loading) giveOwners(ctx context.Context, which func(*tocEntry) bool) error {
	for _, sequences := range []bool{false, true} {
		for _, e := range l.plan.owned {
			if (e.kind == "SEQUENCE") != sequences || !which(e) {
				continue
			}
			if err := l.setOwner(ctx, e, e.owner); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *loading) setOwner(ctx context.Context, e *tocEntry, role string) error {
	if superuserOwned(e.kind) && role != l.who.role && !l.superHere(role) {
		return nil // it stays the administrator's
	}
	names, err := e.alterName()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := execute(ctx, l.conn, "ALTER "+ownedKinds[e.kind]+" "+name+" OWNER TO "+ident(role)); err != nil {
			return fmt.Errorf("give %s to role %q: %w", e.label(), role, explained(err))
		}
	}
	return nil
}

// superuserOwned tells of which kinds of objects a superuser alone can be the
// owner.
func superuserOwned(kind string) bool { return kind == "FOREIGN DATA WRAPPER" }

// superHere tells whether a role of the dump is a superuser on this server, or
// stands in for one.
func (l *loading) superHere(role string) bool {
	r := l.roles.here.role(role)
	return r != nil && r.Super || role == l.roles.admin && l.roles.super || slices.Contains(l.roles.standIns(), role)
}

// lateGrants are those on objects that get their owner late.
func (l *loading) lateGrants(late func(*tocEntry) bool) (grants []*tocEntry) {
	for _, g := range l.plan.grants {
		for _, id := range g.needs {
			if slices.ContainsFunc(l.plan.owned, func(e *tocEntry) bool { return e.id == id && late(e) }) {
				grants = append(grants, g)
				break
			}
		}
	}
	return grants
}

// computeViews has the server compute materialised views, which it does as their
// owners, in the order of the dump. What a superuser owns is computed as the
// restorer, who may read everything for that.
func (l *loading) computeViews(ctx context.Context, forSuperusers bool) error {
	if forSuperusers && !l.who.admin && l.roles.super {
		rights := []string{"ALTER ROLE " + ident(l.who.role) + " BYPASSRLS"}
		if l.major >= 14 {
			rights = append(rights, "GRANT pg_read_all_data TO "+ident(l.who.role))
		}
		if err := execute(ctx, l.conn, rights...); err != nil {
			return fmt.Errorf("let role %q read: %w", l.who.role, explained(err))
		}
	}
	for _, e := range l.plan.views {
		name := ident(e.namespace) + "." + ident(e.tag)
		if err := execute(ctx, l.conn, "REFRESH MATERIALIZED VIEW "+name, "ANALYZE "+name); err != nil {
			return fmt.Errorf("compute materialized view %s: %w", name, explained(err))
		}
	}
	return nil
}

// execute has the administrator execute what some entries hold, as far as that is
// harmless.
func (l *loading) execute(ctx context.Context, entries []*tocEntry) error {
	for _, e := range entries {
		statements, err := harmlessStatements(e)
		if err != nil {
			return fmt.Errorf("%w: %s", err, trustIt(e.label()))
		}
		if err := l.executeAll(ctx, e, statements); err != nil {
			return fmt.Errorf("restore %s: %w", e.label(), explained(err))
		}
	}
	return nil
}

func (l *loading) executeAll(ctx context.Context, e *tocEntry, statements []statement) error {
	for _, s := range statements {
		texts := []string{s.text}
		if strings.HasPrefix(e.tag, "LARGE OBJECTS ") {
			var err error
			if texts, err = l.eachObject(e, &s); err != nil {
				return err
			}
		}
		if err := execute(ctx, l.conn, texts...); err != nil {
			_ = execute(ctx, l.conn, "RESET SESSION AUTHORIZATION")
			return err
		}
	}
	if e.kind == "EVENT TRIGGER" {
		if err := l.judgeEventTrigger(ctx, e); err != nil {
			return err
		}
	}
	return l.giveStep(ctx, e)
}

// giveStep gives what the administrator has made to its owner, where that can be
// one.
func (l *loading) giveStep(ctx context.Context, e *tocEntry) error {
	super := l.superHere(e.owner) && !slices.Contains(l.roles.standIns(), e.owner)
	switch {
	case e.owner == "" || e.owner == l.roles.admin:
		return nil
	case e.kind == "PUBLICATION" && !slices.Contains(l.roles.standIns(), e.owner),
		(e.kind == "EVENT TRIGGER" || e.kind == "SUBSCRIPTION") && super:
		return execute(ctx, l.conn, "ALTER "+e.kind+" "+ident(e.tag)+" OWNER TO "+ident(e.owner))
	}
	return nil
}

// judgeEventTrigger refuses one whose function belongs to somebody who is no
// superuser: it would run with the rights of whoever changes the schema.
func (l *loading) judgeEventTrigger(ctx context.Context, e *tocEntry) error {
	var function, owner string
	var super bool
	err := l.conn.QueryRow(ctx, `
		SELECT t.evtfoid::pg_catalog.regprocedure::text, r.rolname, r.rolsuper
		FROM pg_catalog.pg_event_trigger t JOIN pg_catalog.pg_proc f ON f.oid = t.evtfoid JOIN pg_catalog.pg_roles r ON r.oid = f.proowner
		WHERE t.evtname = $1`, e.tag).Scan(&function, &owner, &super)
	if err != nil || super || l.who.admin || slices.Contains(l.cfg.Trust, e.label()) {
		return err
	}
	return fmt.Errorf("its function %s belongs to role %q, which is no superuser, and would run with the rights of whoever changes the schema, a superuser's too: %s", function, owner, trustIt(e.label()))
}

// eachObject is a statement on a group of large objects, once for each of them.
func (l *loading) eachObject(e *tocEntry, s *statement) (texts []string, err error) {
	at := slices.IndexFunc(s.tokens, func(t token) bool { return t.is("OBJECT") })
	if at < 0 || at+1 >= len(s.tokens) || !onlyDigits.MatchString(s.tokens[at+1].text) {
		return []string{s.text}, nil
	}
	head, rest, _ := strings.Cut(s.text, "OBJECT "+s.tokens[at+1].text)
	for _, of := range l.plan.entries {
		if of.kind != "BLOB METADATA" || !slices.Contains(e.needs, of.id) {
			continue
		}
		names, err := of.alterName()
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			texts = append(texts, head+"OBJECT "+name+rest)
		}
	}
	return texts, nil
}

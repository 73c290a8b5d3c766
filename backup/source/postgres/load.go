package postgres

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
	"github.com/understudy-ha/understudy/backup/source/internal/program"
	"github.com/understudy-ha/understudy/backup/source/postgres/internal/archive"
	"github.com/understudy-ha/understudy/backup/source/postgres/internal/globals"
)

// loading is one restore of a dump into the staging database.
type loading struct {
	db    *database
	notes *notes
	jobs  int
	trust []string
	tool  pgclient.Tool
	major int
	plan  *archive.Plan
	roles *globals.Aligner
	who   *restorer
	conn  *pgx.Conn // the administrator's, in the staging database
	made  []string  // schemas that extensions needed
	said  []string  // what pg_restore warned of
}

// load fills the staging database, and returns what pg_restore warned of.
func (l *loading) load(ctx context.Context) ([]string, error) {
	err := l.db.within(ctx, l.db.staging(), func(conn *pgx.Conn) (err error) {
		l.conn = conn
		if l.major, err = pgclient.ServerMajor(conn); err != nil {
			return err
		}
		if err := l.makeExtensions(ctx); err != nil {
			return err
		}
		for _, run := range l.plan.Runs() {
			if err := l.run(ctx, run); err != nil {
				return err
			}
		}
		// The planner needs statistics from the first query on. They are
		// gathered while all is the restorer's, for expressions in indexes
		// are computed as the owner of their table.
		if err := l.who.url.To(l.db.staging()).With(ctx, func(conn *pgx.Conn) error { return pgclient.Execute(ctx, conn, "ANALYZE") }); err != nil {
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
	mine := func(e *archive.Entry) bool { return e.Kind == "MATERIALIZED VIEW" && l.roles.SuperHere(e.Owner) }
	if err := l.giveOwners(ctx, func(e *archive.Entry) bool { return !mine(e) }); err != nil {
		return err
	}
	late := l.lateGrants(mine)
	if err := l.execute(ctx, slices.DeleteFunc(slices.Clone(l.plan.Grants), func(e *archive.Entry) bool { return slices.Contains(late, e) })); err != nil {
		return err
	}
	if err := l.computeViews(ctx, slices.ContainsFunc(l.plan.Owned, mine)); err != nil {
		return err
	}
	if err := l.giveOwners(ctx, mine); err != nil {
		return err
	}
	if err := l.execute(ctx, late); err != nil {
		return err
	}
	if err := l.run(ctx, l.plan.Late); err != nil {
		return err
	}
	if err := eachRole(ctx, l.conn, "REASSIGN OWNED BY %s TO CURRENT_USER", l.roles.StandIns()); err != nil {
		return err
	}
	return l.execute(ctx, l.plan.Steps)
}

// makeExtensions makes them in the database that is still empty, so that their
// scripts meet nothing of the dump's, and lets the restorer use what belongs to
// them.
func (l *loading) makeExtensions(ctx context.Context) error {
	for _, e := range l.plan.Extensions {
		name, schema, err := archive.ExtensionOf(e)
		if err != nil {
			return err
		}
		if err := l.makeSchema(ctx, schema); err != nil {
			return err
		}
		if err := pgclient.Execute(ctx, l.conn, "CREATE EXTENSION IF NOT EXISTS "+pgclient.Ident(name)+" WITH SCHEMA "+pgclient.Ident(schema)); err != nil {
			return fmt.Errorf("make extension %q: %w", name, pgclient.Explained(err))
		}
	}
	if err := l.who.arrive(ctx, l.conn); err != nil {
		return fmt.Errorf("let role %q use the extensions: %w", l.who.role, pgclient.Explained(err))
	}
	return nil
}

// makeSchema makes one that an extension lies in, if the dump has it.
func (l *loading) makeSchema(ctx context.Context, name string) error {
	in := func(e archive.Entry) bool { return e.Kind == "SCHEMA" && e.Tag == name }
	if name == "public" || slices.Contains(l.made, name) || !slices.ContainsFunc(l.plan.Entries, in) {
		return nil
	}
	if err := pgclient.Execute(ctx, l.conn, "CREATE SCHEMA "+pgclient.Ident(name)+" AUTHORIZATION "+pgclient.Ident(l.who.role)); err != nil {
		return fmt.Errorf("make schema %q: %w", name, pgclient.Explained(err))
	}
	l.made = append(l.made, name)
	return nil
}

// run runs pg_restore, as the restorer or, for what is trusted, as the
// administrator.
func (l *loading) run(ctx context.Context, run archive.Run) error {
	if len(run.Entries) == 0 {
		return nil
	}
	list := filepath.Join(l.notes.dir, "dump.list")
	made := func(e *archive.Entry) bool { return e.Kind == "SCHEMA" && slices.Contains(l.made, e.Tag) }
	if err := os.WriteFile(list, []byte(run.List(made)), 0o600); err != nil {
		return err
	}
	defer func() { _ = fsx.RemoveFiles(list) }()
	url := l.who.url.To(l.db.staging())
	if run.Trusted {
		url = l.db.admin.To(l.db.staging())
	}
	said, err := program.Program{
		Argv: []string{
			l.tool.Path, "--dbname=" + url.Public(), "--jobs=" + strconv.Itoa(l.jobs), "--use-list=" + list,
			"--exit-on-error", "--no-tablespaces", "--no-owner", "--enable-row-security", "--no-password", l.notes.archive(),
		},
		Env: url.Environ(l.major),
	}.RunSaid(ctx)
	if err != nil {
		return l.plan.Advise(err)
	}
	l.said = append(l.said, remarks(said)...)
	if !run.Trusted || l.who.admin {
		return nil
	}
	return l.giveTo(ctx, l.who.role, run.Entries)
}

// giveTo gives what the administrator has made to the restorer.
func (l *loading) giveTo(ctx context.Context, role string, entries []*archive.Entry) error {
	for _, e := range entries {
		if slices.Contains(l.plan.Owned, e) {
			if err := l.setOwner(ctx, e, role); err != nil {
				return err
			}
		}
	}
	return nil
}

// giveOwners gives objects to their owners: sequences last, for most follow
// their tables.
func (l *loading) giveOwners(ctx context.Context, which func(*archive.Entry) bool) error {
	for _, sequences := range []bool{false, true} {
		for _, e := range l.plan.Owned {
			if (e.Kind == "SEQUENCE") != sequences || !which(e) {
				continue
			}
			if err := l.setOwner(ctx, e, e.Owner); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *loading) setOwner(ctx context.Context, e *archive.Entry, role string) error {
	if superuserOwned(e.Kind) && role != l.who.role && !l.roles.SuperHere(role) {
		return nil // it stays the administrator's
	}
	statements, err := e.GiveTo(role)
	if err != nil {
		return err
	}
	if err := pgclient.Execute(ctx, l.conn, statements...); err != nil {
		return fmt.Errorf("give %s to role %q: %w", e.Label(), role, pgclient.Explained(err))
	}
	return nil
}

// superuserOwned tells of which kinds of objects a superuser alone can be the
// owner.
func superuserOwned(kind string) bool { return kind == "FOREIGN DATA WRAPPER" }

// lateGrants are those on objects that get their owner late.
func (l *loading) lateGrants(late func(*archive.Entry) bool) (grants []*archive.Entry) {
	for _, g := range l.plan.Grants {
		for _, id := range g.Needs {
			if slices.ContainsFunc(l.plan.Owned, func(e *archive.Entry) bool { return e.ID == id && late(e) }) {
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
	if forSuperusers && !l.who.admin && l.roles.Super {
		rights := []string{"ALTER ROLE " + pgclient.Ident(l.who.role) + " BYPASSRLS"}
		if l.major >= 14 {
			rights = append(rights, "GRANT pg_read_all_data TO "+pgclient.Ident(l.who.role))
		}
		if err := pgclient.Execute(ctx, l.conn, rights...); err != nil {
			return fmt.Errorf("let role %q read: %w", l.who.role, pgclient.Explained(err))
		}
	}
	for _, e := range l.plan.Views {
		name := pgclient.Ident(e.Namespace) + "." + pgclient.Ident(e.Tag)
		if err := pgclient.Execute(ctx, l.conn, "REFRESH MATERIALIZED VIEW "+name, "ANALYZE "+name); err != nil {
			return fmt.Errorf("compute materialized view %s: %w", name, pgclient.Explained(err))
		}
	}
	return nil
}

// execute has the administrator execute what some entries hold, as far as that is
// harmless.
func (l *loading) execute(ctx context.Context, entries []*archive.Entry) error {
	for _, e := range entries {
		statements, err := l.plan.Harmless(e)
		if err != nil {
			return err
		}
		if err := l.executeAll(ctx, e, statements); err != nil {
			return fmt.Errorf("restore %s: %w", e.Label(), pgclient.Explained(err))
		}
	}
	return nil
}

func (l *loading) executeAll(ctx context.Context, e *archive.Entry, statements []string) error {
	if err := pgclient.Execute(ctx, l.conn, statements...); err != nil {
		_ = pgclient.Execute(ctx, l.conn, "RESET SESSION AUTHORIZATION")
		return err
	}
	if e.Kind == "EVENT TRIGGER" {
		if err := l.judgeEventTrigger(ctx, e); err != nil {
			return err
		}
	}
	return l.giveStep(ctx, e)
}

// giveStep gives what the administrator has made to its owner, where that can be
// one.
func (l *loading) giveStep(ctx context.Context, e *archive.Entry) error {
	super := l.roles.SuperHere(e.Owner) && !slices.Contains(l.roles.StandIns(), e.Owner)
	switch {
	case e.Owner == "" || e.Owner == l.roles.Admin:
		return nil
	case e.Kind == "PUBLICATION" && !slices.Contains(l.roles.StandIns(), e.Owner),
		(e.Kind == "EVENT TRIGGER" || e.Kind == "SUBSCRIPTION") && super:
		return pgclient.Execute(ctx, l.conn, "ALTER "+e.Kind+" "+pgclient.Ident(e.Tag)+" OWNER TO "+pgclient.Ident(e.Owner))
	}
	return nil
}

// judgeEventTrigger refuses one whose function belongs to somebody who is no
// superuser: it would run with the rights of whoever changes the schema.
func (l *loading) judgeEventTrigger(ctx context.Context, e *archive.Entry) error {
	var function, owner string
	var super bool
	err := l.conn.QueryRow(ctx, `
		SELECT t.evtfoid::pg_catalog.regprocedure::text, r.rolname, r.rolsuper
		FROM pg_catalog.pg_event_trigger t JOIN pg_catalog.pg_proc f ON f.oid = t.evtfoid JOIN pg_catalog.pg_roles r ON r.oid = f.proowner
		WHERE t.evtname = $1`, e.Tag).Scan(&function, &owner, &super)
	if err != nil || super || l.who.admin || slices.Contains(l.trust, e.Label()) {
		return err
	}
	return fmt.Errorf("its function %s belongs to role %q, which is no superuser, and would run with the rights of whoever changes the schema, a superuser's too: %s", function, owner, archive.TrustIt(e.Label()))
}

package postgres

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A dump is restored by two. The restorer, who is no superuser, executes what is
// in the dump. The administrator does, for what the restorer may not, a few
// things that run nothing of it: makes extensions, gives objects to their owners,
// grants privileges, has materialised views computed (which the server does as
// their owners), makes publications, subscriptions and event triggers. What
// needs a superuser otherwise is refused, unless the setting trust names it.

// restorePlan says who restores what, and in which order.
type restorePlan struct {
	entries    []tocEntry
	extensions []*tocEntry
	before     []restoreRun // what is there before rows are, one run after the other
	rows       restoreRun   // rows, and what is made after them
	owned      []*tocEntry  // what gets an owner
	grants     []*tocEntry
	late       restoreRun // what is trusted, of what is made after the rows
	views      []*tocEntry
	steps      []*tocEntry // what the administrator makes
}

// restoreRun is one run of pg_restore.
type restoreRun struct {
	entries []*tocEntry
	trusted bool // as the administrator
}

// administrators are kinds of objects that the administrator makes, and that no
// schema has.
var administrators = []string{"EXTENSION", "EVENT TRIGGER", "PUBLICATION", "SUBSCRIPTION"}

// elsewhere are entries that a restore takes from the backup's second stream, or
// that pg_restore heeds without being told.
var elsewhere = []string{"ENCODING", "STDSTRINGS", "SEARCHPATH", "DATABASE", "DATABASE PROPERTIES"}

// superusers are kinds of objects that nobody else can make, and that run code
// of the dump with all rights, or code that is not checked.
var superuserKinds = []string{
	"ACCESS METHOD", "FOREIGN DATA WRAPPER", "OPERATOR CLASS", "OPERATOR FAMILY", "PROCEDURAL LANGUAGE", "TEXT SEARCH PARSER", "TEXT SEARCH TEMPLATE",
}

// ownedKinds are the kinds of objects that have an owner, by how ALTER calls
// them.
var ownedKinds = map[string]string{
	"TABLE": "TABLE", "VIEW": "TABLE", "SEQUENCE": "TABLE", "MATERIALIZED VIEW": "TABLE", "FOREIGN TABLE": "FOREIGN TABLE",
	"COLLATION": "COLLATION", "CONVERSION": "CONVERSION", "DOMAIN": "DOMAIN", "TYPE": "TYPE", "STATISTICS": "STATISTICS", "SCHEMA": "SCHEMA",
	"TEXT SEARCH CONFIGURATION": "TEXT SEARCH CONFIGURATION", "TEXT SEARCH DICTIONARY": "TEXT SEARCH DICTIONARY",
	"FOREIGN DATA WRAPPER": "FOREIGN DATA WRAPPER", "SERVER": "SERVER", "PROCEDURAL LANGUAGE": "LANGUAGE",
	"BLOB": "LARGE OBJECT", "BLOB METADATA": "LARGE OBJECT",
	"AGGREGATE": "AGGREGATE", "FUNCTION": "FUNCTION", "PROCEDURE": "PROCEDURE", "OPERATOR": "OPERATOR",
	"OPERATOR CLASS": "OPERATOR CLASS", "OPERATOR FAMILY": "OPERATOR FAMILY",
}

// planRestore sorts what is in a dump. With all the administrator restores it,
// and nothing is refused.
func (p *Source) planRestore(entries []tocEntry, all bool) (*restorePlan, error) {
	plan := &restorePlan{entries: entries, late: restoreRun{trusted: true}}
	var refused []string
	for i := range entries {
		e := &entries[i]
		trusted := !all && slices.Contains(p.cfg.Trust, e.label())
		switch {
		case slices.Contains(elsewhere, e.kind), strings.HasPrefix(e.tag, "DATABASE ") && !p.hasOwner(e):
		case trusted:
			plan.addTrusted(e)
		case !all && slices.Contains(superuserKinds, e.kind):
			refused = append(refused, e.label())
		default:
			plan.add(e)
		}
	}
	if len(refused) > 0 {
		return nil, fmt.Errorf("the dump has what only a superuser can make (%s): %s", strings.Join(refused, ", "), trustIt(refused...))
	}
	return plan, nil
}

// hasOwner tells an object whose own name begins with a word from what is said of one.
func (p *Source) hasOwner(e *tocEntry) bool {
	return e.kind != "ACL" && e.kind != "COMMENT" && e.kind != "SECURITY LABEL"
}

// trustIt says how to have it restored all the same.
func trustIt(labels ...string) string {
	quoted := make([]string, len(labels))
	for i, l := range labels {
		quoted[i] = strconv.Quote(l)
	}
	return fmt.Sprintf("where you trust whoever wrote it with this server, add to the source of this host: trust: [%s]", strings.Join(quoted, ", "))
}

func (plan *restorePlan) add(e *tocEntry) {
	of, _, _ := strings.Cut(e.tag, " ")
	switch {
	case e.kind == "EXTENSION":
		plan.extensions = append(plan.extensions, e)
	case e.kind == "ACL" || e.kind == "DEFAULT ACL":
		plan.grants = append(plan.grants, e)
	case e.kind == "MATERIALIZED VIEW DATA":
		plan.views = append(plan.views, e)
	case slices.Contains(administrators, e.kind), strings.HasPrefix(e.kind, "PUBLICATION "),
		e.kind == "COMMENT" && (slices.Contains(administrators, of) || strings.HasPrefix(e.tag, "EVENT TRIGGER ")):
		plan.steps = append(plan.steps, e)
	case e.section == sectionData || e.section == sectionPostData:
		plan.rows.entries = append(plan.rows.entries, e)
	default:
		plan.addBefore(e, false)
	}
	plan.addOwned(e)
}

// addTrusted adds what the administrator restores as it stands in the dump.
func (plan *restorePlan) addTrusted(e *tocEntry) {
	if e.section == sectionPostData || e.kind == "ACL" || e.kind == "DEFAULT ACL" || slices.Contains(administrators, e.kind) {
		plan.late.entries = append(plan.late.entries, e)
	} else {
		plan.addBefore(e, true)
	}
	plan.addOwned(e)
}

func (plan *restorePlan) addOwned(e *tocEntry) {
	if ownedKinds[e.kind] != "" && e.owner != "" && (e.drop != "" || e.kind == "BLOB METADATA") {
		plan.owned = append(plan.owned, e)
	}
}

func (plan *restorePlan) addBefore(e *tocEntry, trusted bool) {
	n := len(plan.before)
	if n == 0 || plan.before[n-1].trusted != trusted {
		plan.before = append(plan.before, restoreRun{trusted: trusted})
		n++
	}
	plan.before[n-1].entries = append(plan.before[n-1].entries, e)
}

// runs are those before anything gets its owner. One that is the restorer's runs
// on into the rows: several of them at a time make indexes while others load.
func (plan *restorePlan) runs() []restoreRun {
	all := slices.Clone(plan.before)
	if n := len(all); n > 0 && !all[n-1].trusted {
		all[n-1].entries = slices.Concat(all[n-1].entries, plan.rows.entries)
		return all
	}
	return append(all, plan.rows)
}

// list is what pg_restore --use-list reads.
func (r *restoreRun) list(except func(*tocEntry) bool) string {
	var b strings.Builder
	for _, e := range r.entries {
		if !except(e) {
			fmt.Fprintf(&b, "%d;\n", e.id)
		}
	}
	return b.String()
}

// alterName is how ALTER names an object; several for large objects.
func (e *tocEntry) alterName() (names []string, err error) {
	switch kind := ownedKinds[e.kind]; {
	case e.kind == "BLOB METADATA":
		return objectNumbers(e.make)
	case kind == "LARGE OBJECT":
		return objectNumbers(e.tag)
	case slices.Contains([]string{"AGGREGATE", "FUNCTION", "PROCEDURE", "OPERATOR", "OPERATOR CLASS", "OPERATOR FAMILY"}, e.kind):
		// The name with its arguments is what the statement has that drops it.
		all, err := splitStatements(e.drop)
		head := append([]string{"DROP"}, strings.Fields(kind)...)
		if err != nil || len(all) != 1 || !all[0].begins(head...) {
			return nil, fmt.Errorf("%s: %w: %.60q", e.label(), errStrange, e.drop)
		}
		return []string{strings.TrimPrefix(all[0].text, "DROP "+kind+" ")}, nil
	case e.namespace != "":
		return []string{ident(e.namespace) + "." + ident(e.tag)}, nil
	}
	return []string{ident(e.tag)}, nil
}

var onlyDigits = regexp.MustCompile(`^\d+$`)

// objectNumbers reads the numbers of large objects, one a line.
func objectNumbers(text string) ([]string, error) {
	all := strings.Fields(text)
	for _, n := range all {
		if !onlyDigits.MatchString(n) {
			return nil, fmt.Errorf("large object %.20q: %w", n, errStrange)
		}
	}
	return all, nil
}

// lacksRights are errors that a superuser would not have.
var lacksRights = regexp.MustCompile(`permission denied|[Mm]ust be (superuser|owner)|[Oo]nly (superuser|roles)|superuser-only|password_required|[Pp]assword is required`)

// copyFailed is how pg_restore names the table whose rows it could not load.
var copyFailed = regexp.MustCompile(`COPY failed for table "(.*)":`)

// advise adds to an error of pg_restore's how to have restored what it failed
// at, where it failed for the lack of rights.
func (plan *restorePlan) advise(err error) error {
	text := err.Error()
	if !lacksRights.MatchString(text) {
		return err
	}
	label := trustAll
	if e := plan.failedAt(text); e != nil {
		label = e.label()
	}
	return fmt.Errorf("%w (what is in a dump is restored without a superuser's rights: %s)", err, trustIt(label))
}

// failedAt finds the entry whose statements pg_restore quotes.
func (plan *restorePlan) failedAt(text string) (found *tocEntry) {
	copied := copyFailed.FindStringSubmatch(text)
	for i := range plan.entries {
		e := &plan.entries[i]
		if copied != nil && e.kind == "TABLE DATA" && e.tag == copied[1] {
			return e
		}
		quoted := strings.TrimSpace(e.make)
		if quoted != "" && strings.Contains(text, quoted) && (found == nil || len(e.make) > len(found.make)) {
			found = e
		}
	}
	return found
}

package archive

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
)

// A dump is restored by two. The restorer, who is no superuser, executes what is
// in the dump. The administrator does, for what the restorer may not, a few
// things that run nothing of it: makes extensions, gives objects to their owners,
// grants privileges, has materialised views computed (which the server does as
// their owners), makes publications, subscriptions and event triggers. What
// needs a superuser otherwise is refused, unless the setting trust names it.

// Plan says who restores what, and in which order.
type Plan struct {
	Entries    []Entry
	Extensions []*Entry
	before     []Run    // what is there before rows are, one run after the other
	rows       Run      // rows, and what is made after them
	Owned      []*Entry // what gets an owner
	Grants     []*Entry
	Late       Run // what is trusted, of what is made after the rows
	Views      []*Entry
	Steps      []*Entry // what the administrator makes
}

// Run is one run of pg_restore.
type Run struct {
	Entries []*Entry
	Trusted bool // as the administrator
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

// NewPlan sorts what is in a dump. Trust names what the administrator restores.
// With all the administrator restores everything, and nothing is refused.
func NewPlan(entries []Entry, trust []string, all bool) (*Plan, error) {
	plan := &Plan{Entries: entries, Late: Run{Trusted: true}}
	var refused []string
	for i := range entries {
		e := &entries[i]
		trusted := !all && slices.Contains(trust, e.Label())
		switch {
		case slices.Contains(elsewhere, e.Kind), strings.HasPrefix(e.Tag, "DATABASE ") && !e.hasOwner():
		case trusted:
			plan.addTrusted(e)
		case !all && slices.Contains(superuserKinds, e.Kind):
			refused = append(refused, e.Label())
		default:
			plan.add(e)
		}
	}
	if len(refused) > 0 {
		return nil, fmt.Errorf("the dump has what only a superuser can make (%s): %s", strings.Join(refused, ", "), TrustIt(refused...))
	}
	return plan, nil
}

// hasOwner tells an object whose own name begins with a word from what is said of one.
func (e *Entry) hasOwner() bool {
	return e.Kind != "ACL" && e.Kind != "COMMENT" && e.Kind != "SECURITY LABEL"
}

// TrustIt says how to have it restored all the same.
func TrustIt(labels ...string) string {
	quoted := make([]string, len(labels))
	for i, l := range labels {
		quoted[i] = strconv.Quote(l)
	}
	return fmt.Sprintf("where you trust whoever wrote it with this server, add to the source of this host: trust: [%s]", strings.Join(quoted, ", "))
}

func (plan *Plan) add(e *Entry) {
	of, _, _ := strings.Cut(e.Tag, " ")
	switch {
	case e.Kind == "EXTENSION":
		plan.Extensions = append(plan.Extensions, e)
	case e.Kind == "ACL" || e.Kind == "DEFAULT ACL":
		plan.Grants = append(plan.Grants, e)
	case e.Kind == "MATERIALIZED VIEW DATA":
		plan.Views = append(plan.Views, e)
	case slices.Contains(administrators, e.Kind), strings.HasPrefix(e.Kind, "PUBLICATION "),
		e.Kind == "COMMENT" && (slices.Contains(administrators, of) || strings.HasPrefix(e.Tag, "EVENT TRIGGER ")):
		plan.Steps = append(plan.Steps, e)
	case e.section == sectionData || e.section == sectionPostData:
		plan.rows.Entries = append(plan.rows.Entries, e)
	default:
		plan.addBefore(e, false)
	}
	plan.addOwned(e)
}

// addTrusted adds what the administrator restores as it stands in the dump.
func (plan *Plan) addTrusted(e *Entry) {
	if e.section == sectionPostData || e.Kind == "ACL" || e.Kind == "DEFAULT ACL" || slices.Contains(administrators, e.Kind) {
		plan.Late.Entries = append(plan.Late.Entries, e)
	} else {
		plan.addBefore(e, true)
	}
	plan.addOwned(e)
}

func (plan *Plan) addOwned(e *Entry) {
	if ownedKinds[e.Kind] != "" && e.Owner != "" && (e.drop != "" || e.Kind == "BLOB METADATA") {
		plan.Owned = append(plan.Owned, e)
	}
}

func (plan *Plan) addBefore(e *Entry, trusted bool) {
	n := len(plan.before)
	if n == 0 || plan.before[n-1].Trusted != trusted {
		plan.before = append(plan.before, Run{Trusted: trusted})
		n++
	}
	plan.before[n-1].Entries = append(plan.before[n-1].Entries, e)
}

// Runs are those before anything gets its owner. One that is the restorer's runs
// on into the rows: several of them at a time make indexes while others load.
func (plan *Plan) Runs() []Run {
	all := slices.Clone(plan.before)
	if n := len(all); n > 0 && !all[n-1].Trusted {
		all[n-1].Entries = slices.Concat(all[n-1].Entries, plan.rows.Entries)
		return all
	}
	return append(all, plan.rows)
}

// List is what pg_restore --use-list reads.
func (r *Run) List(except func(*Entry) bool) string {
	var b strings.Builder
	for _, e := range r.Entries {
		if !except(e) {
			fmt.Fprintf(&b, "%d;\n", e.ID)
		}
	}
	return b.String()
}

// alterName is how ALTER names an object; several for large objects.
func (e *Entry) alterName() (names []string, err error) {
	switch kind := ownedKinds[e.Kind]; {
	case e.Kind == "BLOB METADATA":
		return objectNumbers(e.make)
	case kind == "LARGE OBJECT":
		return objectNumbers(e.Tag)
	case slices.Contains([]string{"AGGREGATE", "FUNCTION", "PROCEDURE", "OPERATOR", "OPERATOR CLASS", "OPERATOR FAMILY"}, e.Kind):
		// The name with its arguments is what the statement has that drops it.
		all, err := splitStatements(e.drop)
		head := append([]string{"DROP"}, strings.Fields(kind)...)
		if err != nil || len(all) != 1 || !all[0].begins(head...) {
			return nil, fmt.Errorf("%s: %w: %.60q", e.Label(), errStrange, e.drop)
		}
		return []string{strings.TrimPrefix(all[0].text, "DROP "+kind+" ")}, nil
	case e.Namespace != "":
		return []string{pgclient.Ident(e.Namespace) + "." + pgclient.Ident(e.Tag)}, nil
	}
	return []string{pgclient.Ident(e.Tag)}, nil
}

// GiveTo returns the statements that make a role the object's owner.
func (e *Entry) GiveTo(role string) (statements []string, err error) {
	names, err := e.alterName()
	for _, name := range names {
		statements = append(statements, "ALTER "+ownedKinds[e.Kind]+" "+name+" OWNER TO "+pgclient.Ident(role))
	}
	return statements, err
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

// Advise adds to an error of pg_restore's how to have restored what it failed
// at, where it failed for the lack of rights.
func (plan *Plan) Advise(err error) error {
	text := err.Error()
	if !lacksRights.MatchString(text) {
		return err
	}
	label := TrustAll
	if e := plan.failedAt(text); e != nil {
		label = e.Label()
	}
	return fmt.Errorf("%w (what is in a dump is restored without a superuser's rights: %s)", err, TrustIt(label))
}

// failedAt finds the entry whose statements pg_restore quotes.
func (plan *Plan) failedAt(text string) (found *Entry) {
	copied := copyFailed.FindStringSubmatch(text)
	for i := range plan.Entries {
		e := &plan.Entries[i]
		if copied != nil && e.Kind == "TABLE DATA" && e.Tag == copied[1] {
			return e
		}
		quoted := strings.TrimSpace(e.make)
		if quoted != "" && strings.Contains(text, quoted) && (found == nil || len(e.make) > len(found.make)) {
			found = e
		}
	}
	return found
}

// TrustAll is a word of the setting trust: the administrator restores everything.
const TrustAll = "all"

// Harmless returns the statements of an entry that the administrator executes; those on
// a group of large objects once for each of them.
func (plan *Plan) Harmless(e *Entry) (texts []string, err error) {
	statements, err := harmlessStatements(e)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, TrustIt(e.Label()))
	}
	for _, s := range statements {
		if !strings.HasPrefix(e.Tag, "LARGE OBJECTS ") {
			texts = append(texts, s.text)
			continue
		}
		each, err := plan.eachObject(e, &s)
		if err != nil {
			return nil, err
		}
		texts = append(texts, each...)
	}
	return texts, nil
}

// eachObject is a statement on a group of large objects, once for each of them.
func (plan *Plan) eachObject(e *Entry, s *statement) (texts []string, err error) {
	at := slices.IndexFunc(s.tokens, func(t token) bool { return t.is("OBJECT") })
	if at < 0 || at+1 >= len(s.tokens) || !onlyDigits.MatchString(s.tokens[at+1].text) {
		return []string{s.text}, nil
	}
	head, rest, _ := strings.Cut(s.text, "OBJECT "+s.tokens[at+1].text)
	for _, of := range plan.Entries {
		if of.Kind != "BLOB METADATA" || !slices.Contains(e.Needs, of.ID) {
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

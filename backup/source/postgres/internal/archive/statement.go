package archive

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A few statements of a dump are executed by the administrator. Each is read
// first, and executed only as long as it is a single one, of a form that runs
// no code and changes nothing but the database that is restored.

// token is one token of a statement.
type token struct {
	text   string // of a name without its quotes
	quoted byte   // `"`, `'`, or 0 for what stands without quotes
}

// is tells whether it is the keyword, the mark or the number.
func (t token) is(text string) bool { return t.quoted == 0 && strings.EqualFold(t.text, text) }

// name tells whether it can be the name of something.
func (t token) name() bool {
	return t.quoted == '"' || t.quoted == 0 && t.text != "" && isWord(t.text[0])
}

// statement is one statement of a script, without its semicolon.
type statement struct {
	text   string
	tokens []token
}

// errStrange means that a script has what pg_dump does not write there.
var errStrange = errors.New("it is not what pg_dump writes")

func isWord(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c >= 0x80
}

func isSpace(c byte) bool { return strings.IndexByte(" \t\n\r\f\v", c) >= 0 }

// splitStatements reads a script as the server does whose strings are standard.
// What could be read in more than one way is refused: comments, dollar quotes,
// strings and names of other kinds.
func splitStatements(sql string) (all []statement, err error) {
	var one statement
	begin := 0
	end := func(at int) {
		if len(one.tokens) > 0 {
			one.text = strings.TrimSpace(sql[begin:at])
			all = append(all, one)
		}
		one = statement{}
	}
	for at := 0; at < len(sql); {
		switch c := sql[at]; {
		case isSpace(c):
			at++
			continue
		case c == ';':
			end(at)
			at++
			begin = at
			continue
		}
		t, n := readToken(sql[at:])
		if n == 0 {
			return nil, fmt.Errorf("%w: %.40q", errStrange, sql[at:])
		}
		one.tokens = append(one.tokens, t)
		at += n
	}
	end(len(sql))
	return all, nil
}

// readToken reads the token at the beginning of sql, and returns its length: 0
// for one that is refused.
func readToken(sql string) (t token, n int) {
	switch c := sql[0]; {
	case c == '"' || c == '\'':
		return readQuoted(sql, c, false)
	case (c == 'E' || c == 'e') && len(sql) > 1 && sql[1] == '\'':
		t, n = readQuoted(sql[1:], '\'', true)
		if n > 0 {
			n++
		}
		return t, n
	case isWord(c):
		for n = 1; n < len(sql) && (isWord(sql[n]) || sql[n] == '$'); n++ {
		}
		if n < len(sql) && (sql[n] == '\'' || sql[n] == '"' || sql[n] == '&') {
			return token{}, 0 // a string or name of another kind
		}
		return token{text: sql[:n]}, n
	case strings.HasPrefix(sql, "--") || strings.HasPrefix(sql, "/*") || c == '$' || c == '\\' || c < ' ' || c == 0x7f:
		return token{}, 0
	}
	return token{text: sql[:1]}, 1
}

func readQuoted(sql string, quote byte, escapes bool) (t token, n int) {
	var b strings.Builder
	for n = 1; n < len(sql); n++ {
		switch c := sql[n]; {
		case c == 0:
			return token{}, 0
		case c == '\\' && escapes:
			b.WriteByte(c) // nobody needs to know what it stands for
			n++
			if n < len(sql) {
				b.WriteByte(sql[n])
			}
		case c == quote && n+1 < len(sql) && sql[n+1] == quote:
			b.WriteByte(c)
			n++
		case c == quote:
			return token{b.String(), quote}, n + 1
		default:
			b.WriteByte(c)
		}
	}
	return token{}, 0
}

// begins tells whether the statement begins with the keywords.
func (s *statement) begins(keywords ...string) bool {
	return len(s.tokens) >= len(keywords) && slices.EqualFunc(s.tokens[:len(keywords)], keywords, token.is)
}

// has tells whether the statement has the tokens one after the other.
func (s *statement) has(texts ...string) bool {
	for i := range s.tokens {
		rest := statement{tokens: s.tokens[i:]}
		if rest.begins(texts...) {
			return true
		}
	}
	return false
}

// harmlessKinds tells, by the kind of what is made, which statements the
// administrator executes.
var harmlessKinds = map[string]func(*statement) bool{
	"ACL":                          (*statement).grants,
	"DEFAULT ACL":                  func(s *statement) bool { return s.begins("ALTER", "DEFAULT", "PRIVILEGES", "FOR", "ROLE") },
	"COMMENT":                      (*statement).comments,
	"EVENT TRIGGER":                (*statement).eventTrigger,
	"PUBLICATION":                  func(s *statement) bool { return s.begins("CREATE", "PUBLICATION") },
	"PUBLICATION TABLE":            (*statement).publishes,
	"PUBLICATION TABLES IN SCHEMA": (*statement).publishes,
	"SUBSCRIPTION":                 func(s *statement) bool { return s.begins("CREATE", "SUBSCRIPTION") && s.has("connect", "=", "false") },
}

func (s *statement) publishes() bool {
	return s.begins("ALTER", "PUBLICATION") && len(s.tokens) > 3 && s.tokens[3].is("ADD")
}

func (s *statement) eventTrigger() bool {
	if s.begins("CREATE", "EVENT", "TRIGGER") {
		return true
	}
	return s.begins("ALTER", "EVENT", "TRIGGER") && len(s.tokens) > 4 && (s.tokens[4].is("ENABLE") || s.tokens[4].is("DISABLE"))
}

// comments tells whether it is a comment on something that is the
// administrator's.
func (s *statement) comments() bool {
	for _, of := range administrators {
		head := append([]string{"COMMENT", "ON"}, strings.Fields(of)...)
		if n := len(head); s.begins(head...) && len(s.tokens) == n+3 && s.tokens[n].name() && s.tokens[n+1].is("IS") {
			return true
		}
	}
	return false
}

// grantable are the kinds of objects, within a database, of which privileges are
// given.
var grantable = []string{"TABLE", "SEQUENCE", "FUNCTION", "PROCEDURE", "ROUTINE", "SCHEMA", "LANGUAGE", "TYPE", "DOMAIN", "LARGE", "FOREIGN"}

// grants tells whether it gives or takes privileges on an object of the
// database's, and no membership in a role.
func (s *statement) grants() bool {
	switch {
	case s.begins("SET", "SESSION", "AUTHORIZATION"):
		return len(s.tokens) == 4
	case s.begins("RESET", "SESSION", "AUTHORIZATION"):
		return len(s.tokens) == 3
	case !s.begins("GRANT") && !s.begins("REVOKE"):
		return false
	}
	for i, t := range s.tokens {
		switch {
		case t.is("TO") || t.is("FROM"):
			return false
		case t.is("ON"):
			return i+1 < len(s.tokens) && slices.ContainsFunc(grantable, s.tokens[i+1].is)
		}
	}
	return false
}

// harmlessStatements are those of an entry that the administrator executes.
func harmlessStatements(e *Entry) ([]statement, error) {
	all, err := splitStatements(e.make)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.Label(), err)
	}
	for i := range all {
		if allowed := harmlessKinds[e.Kind]; allowed == nil || !allowed(&all[i]) {
			return nil, fmt.Errorf("%s: %w: %.60q", e.Label(), errStrange, all[i].text)
		}
	}
	return all, nil
}

// ExtensionOf reads what an extension's entry makes.
func ExtensionOf(e *Entry) (name, schema string, err error) {
	all, err := splitStatements(e.make)
	if err == nil && len(all) == 1 && all[0].begins("CREATE", "EXTENSION", "IF", "NOT", "EXISTS") {
		t := all[0].tokens
		if len(t) == 9 && t[5].name() && t[6].is("WITH") && t[7].is("SCHEMA") && t[8].name() {
			return t[5].text, t[8].text, nil
		}
	}
	return "", "", fmt.Errorf("%s: %w", e.Label(), errors.Join(errStrange, err))
}

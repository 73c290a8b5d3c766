package settings

import (
	"regexp"
	"strings"
)

// Assignment is one line NAME=VALUE of an environment file.
type Assignment struct {
	Name, Value string
	Line        int
}

// variableName is what systemd takes for a variable.
var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// ParseEnvironment reads the syntax of systemd's EnvironmentFile=, as systemd.exec(5)
// has it: a variable a line; empty lines, and those that begin with # or ;, are
// comments. An unquoted value keeps the blanks in it, and loses those around it; a
// backslash keeps the character after it, or joins the next line. In single quotes
// everything is as it stands, in double quotes a backslash keeps ", \, ` and $; both may
// go over several lines. As with systemd, a line that is no assignment is passed over.
func ParseEnvironment(text string) []Assignment {
	r := &environmentReader{text: strings.TrimPrefix(text, "\uFEFF"), line: 1}
	var all []Assignment
	for r.at < len(r.text) {
		if a, ok := r.assignment(); ok {
			all = append(all, a)
		}
	}
	return all
}

// environmentReader reads assignment after assignment.
type environmentReader struct {
	text     string
	at, line int
}

func (r *environmentReader) more() bool { return r.at < len(r.text) }

func (r *environmentReader) next() byte {
	c := r.text[r.at]
	r.at++
	if c == '\n' {
		r.line++
	}
	return c
}

// assignment reads a line and those that it goes on in.
func (r *environmentReader) assignment() (Assignment, bool) {
	r.skip(" \t\r\n")
	begin := r.line
	if !r.more() || strings.IndexByte("#;", r.text[r.at]) >= 0 {
		r.restOfLine()
		return Assignment{}, false
	}
	name, ok := r.name()
	if !ok {
		return Assignment{}, false
	}
	value := r.value()
	return Assignment{Name: name, Value: value, Line: begin}, variableName.MatchString(name)
}

// skip passes over characters.
func (r *environmentReader) skip(these string) {
	for r.more() && strings.IndexByte(these, r.text[r.at]) >= 0 {
		r.next()
	}
}

func (r *environmentReader) restOfLine() {
	for r.more() && r.next() != '\n' {
		continue
	}
}

// name reads up to the equals sign; a line without one is no assignment.
func (r *environmentReader) name() (string, bool) {
	begin := r.at
	for r.more() {
		switch r.next() {
		case '=':
			return strings.TrimRight(r.text[begin:r.at-1], " \t\r"), true
		case '\n':
			return "", false
		}
	}
	return "", false
}

// value reads quoted parts, and a part without quotes, which ends with the line.
func (r *environmentReader) value() string {
	var v strings.Builder
	for r.more() {
		switch c := r.next(); c {
		case ' ', '\t', '\r': // around quotes
		case '\n':
			return v.String()
		case '\'':
			r.single(&v)
		case '"':
			r.double(&v)
		default:
			r.at-- // which is no end of a line
			v.WriteString(r.plain())
			return v.String()
		}
	}
	return v.String()
}

func (r *environmentReader) single(v *strings.Builder) {
	for r.more() {
		c := r.next()
		if c == '\'' {
			return
		}
		v.WriteByte(c)
	}
}

func (r *environmentReader) double(v *strings.Builder) {
	for r.more() {
		switch c := r.next(); {
		case c == '"':
			return
		case c == '\\' && r.more():
			switch e := r.next(); {
			case e == '\n':
			case strings.IndexByte("\"\\`$", e) >= 0:
				v.WriteByte(e)
			default:
				v.WriteByte(c)
				v.WriteByte(e)
			}
		default:
			v.WriteByte(c)
		}
	}
}

// plain reads an unquoted value, without the blanks behind it.
func (r *environmentReader) plain() string {
	var v strings.Builder
	kept := 0 // up to where nothing is cut off
	for r.more() {
		c := r.next()
		switch {
		case c == '\n':
			return v.String()[:kept]
		case c == '\\':
			if r.more() {
				if e := r.next(); e != '\n' {
					v.WriteByte(e)
					kept = v.Len()
				}
			}
		case c == ' ' || c == '\t' || c == '\r':
			v.WriteByte(c)
		default:
			v.WriteByte(c)
			kept = v.Len()
		}
	}
	return v.String()[:kept]
}

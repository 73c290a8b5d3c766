package pgclient

import (
	"strings"

	"github.com/jackc/pgx/v5"
)

// Ident quotes a name.
func Ident(name string) string { return pgx.Identifier{name}.Sanitize() }

// Literal quotes a string, whatever the server's setting of
// standard_conforming_strings.
func Literal(s string) string {
	quoted := "'" + strings.ReplaceAll(s, "'", "''") + "'"
	if strings.Contains(s, `\`) {
		return "E" + strings.ReplaceAll(quoted, `\`, `\\`)
	}
	return quoted
}

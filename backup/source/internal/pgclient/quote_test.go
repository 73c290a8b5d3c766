package pgclient

import "testing"

func TestPostgresSQLIsQuoted(t *testing.T) {
	for in, want := range map[string]string{
		`a`: `'a'`, `it's`: `'it''s'`, `back\slash's`: `E'back\\slash''s'`, ``: `''`,
	} {
		if got := Literal(in); got != want {
			t.Errorf("%q: %s", in, got)
		}
	}
}

package globals

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPostgresStatementsAreQuoted(t *testing.T) {
	for in, want := range map[string][]string{
		``: nil, `""`: {""}, `a, b`: {"a", "b"}, `"$user", public`: {"$user", "public"},
		`"a, ""b", c`: {`a, "b`, "c"}, `"", a`: {"", "a"},
	} {
		if diff := cmp.Diff(want, splitNames(in)); diff != "" {
			t.Errorf("%s: %s", in, diff)
		}
	}
	yes, no := true, false
	for _, tt := range []struct {
		m     membership
		major int
		want  string
	}{
		{membership{Role: "a", Member: "b"}, 15, `GRANT "a" TO "b"`},
		{membership{Role: "a", Member: "b", Admin: true}, 15, `GRANT "a" TO "b" WITH ADMIN OPTION`},
		{membership{Role: "a", Member: "b", Inherit: &no, Set: &yes}, 15, `GRANT "a" TO "b"`},
		{membership{Role: "a", Member: "b", Inherit: &no, Set: &yes}, 17, `GRANT "a" TO "b" WITH ADMIN false, INHERIT false, SET true`},
	} {
		if got := tt.m.grant(tt.major); got != tt.want {
			t.Errorf("%s", got)
		}
	}
	for _, tt := range []struct {
		d    Database
		want string
	}{
		{Database{Provider: "c"}, ""},
		{Database{Provider: "i", Locale: "de", Rules: "&a<b"}, " LOCALE_PROVIDER icu ICU_LOCALE 'de' ICU_RULES '&a<b'"},
		{Database{Provider: "b", Locale: "C.UTF-8"}, " LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'"},
	} {
		if got := tt.d.Create("x"); !strings.HasSuffix(got, "LC_CTYPE ''"+tt.want) {
			t.Errorf("%s", got)
		}
	}
}

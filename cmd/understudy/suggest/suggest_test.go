package suggest

import "testing"

func TestNearest(t *testing.T) {
	keys := []string{"frequency", "retention", "reuse_window", "ttl", "exclude", "path"}
	for word, want := range map[string]string{
		"frequenzy": "frequency", "Retention": "retention", "freq": "frequency", "reuse-window": "reuse_window",
		"tll": "ttl", "pth": "path", "excludes": "exclude", "compression": "", "x": "", "": "",
	} {
		if got := Nearest(word, keys); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
	if got := Instead("tll", "settings", []string{"ttl", "margin"}); got != `; did you mean "ttl"? The settings are ttl, margin` {
		t.Errorf("%s", got)
	}
	if got := Instead("compression", "keys", []string{"ttl"}); got != "; the keys are ttl" {
		t.Errorf("%s", got)
	}
}

package datadir

import (
	"strings"
	"testing"
)

// TestWhatTellsHosts: another host, another board, another file; what is not known
// tells nothing.
func TestWhatTellsHosts(t *testing.T) {
	was := stamp{Born: 1, Machine: "m", Board: "b"}
	for name, c := range map[string]struct {
		now  stamp
		says string
	}{
		"the same":        {was, ""},
		"another file":    {stamp{Born: 2, Machine: "m", Board: "b"}, "not the file"},
		"another machine": {stamp{Born: 1, Machine: "x", Board: "b"}, "another host"},
		"another board":   {stamp{Born: 1, Machine: "m", Board: "x"}, "another host"},
		"nothing known":   {stamp{}, ""},
	} {
		if got := c.now.differs(was); !strings.Contains(got, c.says) || (got == "") != (c.says == "") {
			t.Errorf("%s: %q", name, got)
		}
	}
}

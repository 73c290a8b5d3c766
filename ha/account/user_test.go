package account

import (
	"errors"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/ha"
)

func TestUserNamesFitEverywhere(t *testing.T) {
	for name, good := range map[string]bool{
		"alice": true, "a": true, "a.b-c_d@example.com": true, "": false, "Alice": false, "a b": false, "../a": false, "a/b": false, "-a": false,
		strings.Repeat("x", 64): true, strings.Repeat("x", 65): false,
	} {
		if err := Check(name, Admin); (err == nil) != good || err != nil && !errors.Is(err, ha.ErrInvalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if err := Check("alice", "owner"); !errors.Is(err, ha.ErrInvalid) {
		t.Errorf("a role that is none: %v", err)
	}
}

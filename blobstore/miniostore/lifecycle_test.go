package miniostore

import (
	"errors"
	"testing"

	"github.com/understudy-ha/understudy/blobstore"
)

// A store that speaks the protocol without this part of it is one without rules,
// not one whose rules cannot be read.
func TestAStoreThatKnowsNoRulesIsSaidToHaveNone(t *testing.T) {
	for _, test := range []struct {
		status int
		code   string
	}{{501, "NotImplemented"}, {405, "MethodNotAllowed"}, {501, "SomethingElse"}, {400, "NotImplemented"}} {
		s := answering(t, test.status, test.code)
		if _, err := s.Rules(t.Context()); !errors.Is(err, blobstore.ErrNoRules) {
			t.Errorf("%d %s: read: %v", test.status, test.code, err)
		}
		if err := s.SetRules(t.Context(), []blobstore.Rule{{Prefix: "packs/", Days: 22}}); !errors.Is(err, blobstore.ErrNoRules) {
			t.Errorf("%d %s: write: %v", test.status, test.code, err)
		}
	}
	none := answering(t, 404, "NoSuchLifecycleConfiguration")
	if rules, err := none.Rules(t.Context()); err != nil || len(rules) > 0 {
		t.Errorf("a bucket that has none: %v, %v", rules, err)
	}
}

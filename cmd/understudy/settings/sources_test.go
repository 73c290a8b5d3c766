package settings

import (
	"slices"
	"testing"

	"github.com/understudy-ha/understudy/backup/source"
)

// Each kind that is registered can be named in the YAML file, and each that can be
// named there is registered.
func TestEveryKindOfSourceCanBeConfigured(t *testing.T) {
	if got, want := slices.Sorted(slices.Values(kindNames)), source.Kinds(); len(want) == 0 || !slices.Equal(got, want) {
		t.Errorf("the YAML file knows %q, registered are %q", got, want)
	}
}

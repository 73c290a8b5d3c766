package runner

import (
	"slices"
	"testing"
)

func TestStepsAreListedOnceAndSaidToBeForSomething(t *testing.T) {
	names := StepNames()
	slices.Sort(names)
	if once := slices.Compact(slices.Clone(names)); len(once) != len(names) {
		t.Errorf("of %d steps only %d differ", len(names), len(once))
	}
	for _, s := range steps {
		if s[1] == "" {
			t.Errorf("the step %s makes nothing durable", s[0])
		}
	}
}

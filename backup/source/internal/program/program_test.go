package program

import (
	"slices"
	"testing"

	"github.com/understudy-ha/understudy/backup/environ"
)

func TestProgramsInheritNoSecrets(t *testing.T) {
	for _, name := range environ.SecretVariables {
		t.Setenv(name, "secret")
	}
	for _, entry := range Environ("X=y") {
		if slices.Contains(environ.SecretVariables, entry[:max(0, slices.Index([]byte(entry), '='))]) {
			t.Errorf("a source's command inherits %s", entry)
		}
	}
}

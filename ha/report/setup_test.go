package report

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/ha/application"
)

// TestWhatIsProtectedNamesNoSecrets: of a hook's command its program alone is told.
func TestWhatIsProtectedNamesNoSecrets(t *testing.T) {
	l := application.Setup{Hooks: application.Hooks{Promote: application.Hook{Command: []string{"/usr/bin/systemctl", "start", "--password=secret"}, Timeout: time.Minute}, Probe: application.Hook{Command: []string{"probe"}}}}
	want := Protection{Hooks: []ConfiguredHook{{Name: "promote", Program: "systemctl", Timeout: 60}, {Name: "probe", Program: "probe"}}}
	if diff := cmp.Diff(want, ProtectionOf(l)); diff != "" {
		t.Error(diff)
	}
}

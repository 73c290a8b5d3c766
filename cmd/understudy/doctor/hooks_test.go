package doctor

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/understudy-ha/understudy/ha/application"
)

func TestApplicationThatStartsAtBootIsFound(t *testing.T) {
	for name, tt := range map[string]struct {
		command []string
		state   string // what systemctl prints
		want    []Result
	}{
		"enabled":     {[]string{"systemctl", "start", "myapp"}, "enabled", []Result{Bad}},
		"disabled":    {[]string{"sudo", "-n", "/usr/bin/systemctl", "--no-block", "start", "myapp", "worker"}, "disabled", []Result{Good, Good}},
		"not known":   {[]string{"systemctl", "start", "myapp"}, "", []Result{Warning}},
		"no systemd":  {[]string{"myapp", "start"}, "enabled", nil},
		"not a start": {[]string{"systemctl", "reload", "myapp"}, "enabled", nil},
		"no hook":     {nil, "enabled", nil},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			script := "#!/bin/sh\n[ \"$1\" = is-enabled ] && echo " + tt.state + "\nexit 1\n"
			if err := os.WriteFile(filepath.Join(dir, "systemctl"), []byte(script), 0o700); err != nil {
				t.Fatal(err)
			}
			t.Setenv("PATH", dir+":/usr/bin:/bin")
			found := Boot(t.Context(), application.Hooks{Promote: application.Hook{Command: tt.command}})
			if len(found) != len(tt.want) {
				t.Fatalf("findings %+v, want %v", found, tt.want)
			}
			for i, f := range found {
				if f.Result != tt.want[i] {
					t.Errorf("finding %+v, want %s", f, tt.want[i])
				}
			}
		})
	}
}

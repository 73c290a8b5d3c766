package settings

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestPackagedEnvironmentIsOurs(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "packaging", "environment"))
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{}
	uncommented := regexp.MustCompile(`(?m)^# ?([A-Z_]+=)`).ReplaceAllString(string(text), "$1")
	for _, a := range ParseEnvironment(uncommented) {
		env[a.Name] = a.Value
		if strings.HasPrefix(a.Name, "UNDERSTUDY_") && !slices.Contains(Variables(), a.Name) {
			t.Errorf("%s is no setting", a.Name)
		}
	}
	if s, err := settingsOf(t, env); err != nil || s.Bucket == "" || s.Instance == "" {
		t.Errorf("settings %+v: %v", s, err)
	}
}

func TestPackagedConfigsAreGood(t *testing.T) {
	for _, name := range []string{"understudy.yaml", "sample.yaml"} {
		c, err := (&Host{Config: filepath.Join("..", "packaging", name), DataDir: "/var/lib/understudy"}).File(nil)
		if err != nil {
			t.Error(err)
			continue
		}
		if len(c.Sources) == 0 || c.Hooks.Promote.Command == nil || c.Hooks.Demote.Command == nil {
			t.Errorf("%s shows too little: %+v", name, c)
		}
	}
}

// TestTemplatesOfTheConsoleAreGood: what somebody copies from the set-up page is taken.
func TestTemplatesOfTheConsoleAreGood(t *testing.T) {
	for _, name := range []string{"postgres", "sqlite", "files", "command"} {
		c, err := (&Host{Config: filepath.Join("..", "..", "..", "ha", "console", "assets", "templates", name+".yaml"), DataDir: "/var/lib/understudy"}).File(nil)
		if err != nil || len(c.Sources) == 0 || c.Hooks.Promote.Command == nil || c.Hooks.Demote.Command == nil {
			t.Errorf("%s: %v, or it shows too little", name, err)
		}
	}
}

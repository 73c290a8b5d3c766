package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/cmd/understudy/settings"
	"github.com/understudy-ha/understudy/cmd/understudy/terminal"
)

// understudy runs the program in this process.
func understudy(t *testing.T, env map[string]string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	return understudyCtx(t.Context(), env, args...)
}

func understudyCtx(ctx context.Context, env map[string]string, args ...string) (stdout, stderr string, code int) {
	var out, err bytes.Buffer
	lookup := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	code = run(ctx, args, lookup, terminal.Streams{In: strings.NewReader(""), Out: &out, Err: &err})
	return out.String(), err.String(), code
}

// run runs the program with an environment, and without this machine's settings.
func run(ctx context.Context, args []string, lookup settings.Lookup, std terminal.Streams) int {
	return (&app{std: std, surroundings: surroundings{lookup: lookup}}).run(ctx, args)
}

func TestKeyGenerateMakesAKeyThatShowIDKnows(t *testing.T) {
	line, _, code := understudy(t, nil, "key", "generate")
	if code != exit.Done {
		t.Fatalf("exit %d", code)
	}
	k, err := seal.ParseKey(strings.TrimSpace(line))
	if err != nil {
		t.Fatalf("generated %q: %v", line, err)
	}
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, env := range map[string]map[string]string{
		"from the environment": {"UNDERSTUDY_KEY": strings.TrimSpace(line)},
		"from a file":          {"UNDERSTUDY_KEY_FILE": file},
	} {
		t.Run(name, func(t *testing.T) {
			out, stderr, code := understudy(t, env, "key", "show-id", "--json")
			var keys []keyJSON
			if err := json.Unmarshal([]byte(out), &keys); err != nil || code != exit.Done {
				t.Fatalf("exit %d, printed %q, %q: %v", code, out, stderr, err)
			}
			if len(keys) != 1 || keys[0].ID != k.ID() || keys[0].State != "active" {
				t.Errorf("keys %+v, want %s", keys, k.ID())
			}
		})
	}
}

func TestExitCodesTellTheKindOfFailure(t *testing.T) {
	tests := map[string]struct {
		env  map[string]string
		args []string
		code int
		says string
	}{
		"unknown command":     {args: []string{"promte"}, code: exit.Usage, says: `unknown command "promte"`},
		"unknown sub-command": {args: []string{"key", "make"}, code: exit.Usage, says: `unknown command "make" for understudy key`},
		"unknown flag":        {args: []string{"key", "generate", "--fast"}, code: exit.Usage, says: "see: understudy key generate --help"},
		"extra argument":      {args: []string{"key", "generate", "x"}, code: exit.Usage, says: "see: understudy key generate --help"},
		"bad variable":        {env: map[string]string{"UNDERSTUDY_POLL": "often"}, args: []string{"key", "generate"}, code: exit.Usage, says: "UNDERSTUDY_POLL"},
		"no key":              {args: []string{"key", "show-id"}, code: exit.Bucket, says: "understudy key generate"},
		"broken key":          {env: map[string]string{"UNDERSTUDY_KEY": "nonsense"}, args: []string{"key", "show-id"}, code: exit.Bucket, says: "UNDERSTUDY_KEY"},
		"missing key file":    {args: []string{"key", "show-id", "--key-file", "/nowhere/key"}, code: exit.Bucket, says: "/nowhere/key"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			out, stderr, code := understudy(t, tt.env, tt.args...)
			if code != tt.code || !strings.Contains(stderr, tt.says) || out != "" {
				t.Errorf("exit %d, want %d; stdout %q, stderr %q, want %q in it", code, tt.code, out, stderr, tt.says)
			}
		})
	}
}

func TestFailureIsJSONWhenAsked(t *testing.T) {
	_, stderr, code := understudy(t, nil, "key", "show-id", "--json")
	var f terminal.Failure
	if err := json.Unmarshal([]byte(stderr), &f); err != nil || f.ExitCode != code || f.Error == "" {
		t.Errorf("exit %d, stderr %q: %v", code, stderr, err)
	}
}

func TestEveryCommandExplainsItself(t *testing.T) {
	a := &app{}
	root := newRoot(a)
	for _, cmd := range append(root.Commands(), root) {
		for _, c := range append(cmd.Commands(), cmd) {
			if c.Short == "" || c.Runnable() && !c.HasSubCommands() && c.Example == "" {
				t.Errorf("%s: help text or example is missing", c.CommandPath())
			}
		}
	}
}

func TestSecretsNeverShow(t *testing.T) {
	const key, token = "the-shared-key", "the-admin-token"
	env := map[string]string{"UNDERSTUDY_KEY": key, "UNDERSTUDY_ADMIN_TOKEN": token}
	for _, args := range [][]string{{"key", "show-id"}, {"--help"}, {"key", "show-id", "--json"}} {
		out, stderr, _ := understudy(t, env, args...)
		for _, s := range []string{key, token} {
			if strings.Contains(out+stderr, s) {
				t.Errorf("%v shows a secret: %s%s", args, out, stderr)
			}
		}
	}
}

package main

import (
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/spf13/pflag"

	"github.com/understudy-ha/understudy/cmd/understudy/buckets"
	"github.com/understudy-ha/understudy/cmd/understudy/settings"
)

// pinned is an image with a version that is not "latest".
var pinned = regexp.MustCompile(`^[^:@]+:[A-Za-z0-9._-]*[0-9][A-Za-z0-9._-]*(@sha256:[0-9a-f]{64})?$`)

func composeProject(t *testing.T) *types.Project {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	opt, err := cli.NewProjectOptions([]string{filepath.Join(root, "docker-compose.yml")}, cli.WithWorkingDirectory(root), cli.WithProfiles([]string{"*"}))
	if err != nil {
		t.Fatal(err)
	}
	p, err := opt.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestComposeHasTheWholeCluster(t *testing.T) {
	p := composeProject(t)
	for _, name := range []string{"minio", "bucket", "key", "host-a", "host-b", "host-c", "prometheus", "db-a", "db-b", "pg-a", "pg-b"} {
		if _, err := p.GetService(name); err != nil {
			t.Error(err)
		}
	}
}

func TestComposePinsEveryImage(t *testing.T) {
	for name, s := range composeProject(t).Services {
		if s.Build != nil {
			if _, err := os.Stat(filepath.Join(s.Build.Context, s.Build.Dockerfile)); err != nil {
				t.Errorf("service %s: %v", name, err)
			}
			continue
		}
		if !pinned.MatchString(s.Image) {
			t.Errorf("service %s: image %q is not pinned", name, s.Image)
		}
	}
}

func TestDockerfilePinsEveryImage(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("packaging", "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	var stages []string
	for _, m := range regexp.MustCompile(`(?m)^FROM (\S+) AS (\S+)$`).FindAllStringSubmatch(string(text), -1) {
		if !slices.Contains(stages, m[1]) && !pinned.MatchString(m[1]) {
			t.Errorf("image %q is not pinned", m[1])
		}
		stages = append(stages, m[2])
	}
	for name, s := range composeProject(t).Services {
		if s.Build != nil && !slices.Contains(stages, s.Build.Target) {
			t.Errorf("service %s: the Dockerfile has no stage %q", name, s.Build.Target)
		}
	}
}

// TestImagesAreBuiltOfAllTheirSources: what .dockerignore leaves out, the image's build
// does not have.
func TestImagesAreBuiltOfAllTheirSources(t *testing.T) {
	text, err := os.ReadFile("../../.dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{with .Module}}{{if .Main}}{{$.ImportPath}}{{end}}{{end}}", "./cmd/understudy", "./e2e/sample")
	list.Dir = "../.."
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	kept := strings.Split(string(text), "\n")
	for pkg := range strings.FieldsSeq(string(out)) {
		dir := strings.TrimPrefix(pkg, "github.com/understudy-ha/understudy/")
		if top, _, _ := strings.Cut(dir, "/"); !slices.Contains(kept, "!"+top) && !slices.Contains(kept, "!"+dir) {
			t.Errorf(".dockerignore leaves out %s", dir)
		}
	}
}

func TestComposeSettingsAreOurs(t *testing.T) {
	known := settings.Variables()
	for name, s := range composeProject(t).Services {
		env := map[string]string{}
		for key, value := range s.Environment {
			if !strings.HasPrefix(key, "UNDERSTUDY_") {
				continue
			}
			if !slices.Contains(known, key) {
				t.Errorf("service %s sets %s, which is no setting", name, key)
			}
			env[key] = *value
		}
		got, err := settings.Read(pflag.NewFlagSet(name, pflag.ContinueOnError), func(name string) (string, bool) { v, ok := env[name]; return v, ok }, nil)
		if err != nil {
			t.Errorf("service %s: %v", name, err)
			continue
		}
		if got.Bucket == "" {
			continue
		}
		t.Setenv("AWS_ACCESS_KEY_ID", *s.Environment["AWS_ACCESS_KEY_ID"])
		t.Setenv("AWS_SECRET_ACCESS_KEY", *s.Environment["AWS_SECRET_ACCESS_KEY"])
		if _, err := buckets.Open(t.Context(), got, slog.New(slog.DiscardHandler)); err != nil {
			t.Errorf("service %s: %v", name, err)
		}
	}
}

// TestComposeUsesCommandsThatExist resolves every "understudy …" that a
// container is started with.
func TestComposeUsesCommandsThatExist(t *testing.T) {
	call := regexp.MustCompile(`\bunderstudy ((?:[a-z-]+ ?)+)`)
	found := 0
	for name, s := range composeProject(t).Services {
		for _, words := range [][]string{s.Entrypoint, s.Command} {
			for _, m := range call.FindAllStringSubmatch(strings.Join(words, " "), -1) {
				found++
				root := newRoot(&app{})
				cmd, rest, err := root.Find(strings.Fields(m[1]))
				if err != nil || cmd == root || cmd.HasSubCommands() || len(rest) > 0 {
					t.Errorf("service %s: no command %q (%v): %v", name, m[1], rest, err)
				}
			}
		}
	}
	if found == 0 {
		t.Error("no service calls understudy")
	}
}

// TestPackagesHaveWhatTheyName: nfpm would only say so at a release.
func TestPackagesHaveWhatTheyName(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("packaging", "nfpm.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	sources := regexp.MustCompile(`(?m)^  - src: (cmd/\S+)$`).FindAllStringSubmatch(string(text), -1)
	for _, m := range sources {
		if _, err := os.Stat(filepath.Join("..", "..", m[1])); err != nil {
			t.Error(err)
		}
	}
	for _, shipped := range []string{"understudy.rules.yml", "understudy.dashboard.json"} {
		if !slices.ContainsFunc(sources, func(m []string) bool { return filepath.Base(m[1]) == shipped }) {
			t.Errorf("the packages leave out %s", shipped)
		}
	}
}

// The policies in the documentation are those that the tests give to users.
func TestDocumentedPoliciesAreTheShippedOnes(t *testing.T) {
	doc, err := os.ReadFile("../../docs/stores.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("packaging/policies/*.json")
	if err != nil || len(files) != 3 {
		t.Fatalf("policies %q, %v", files, err)
	}
	for _, file := range files {
		policy, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(doc), "`"+filepath.Base(file)+"`:\n\n```json\n"+string(policy)+"```\n") {
			t.Errorf("docs/stores.md does not show %s as it is", file)
		}
	}
}

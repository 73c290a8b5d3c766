package e2e

import (
	"encoding/json"
	"fmt"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/understudy-ha/understudy/e2e/pages"
)

// Every block of README.md and docs is known here. Commands (of fences "sh", and
// indented) run on two hosts, as they stand but for standIns, on the one that the prose
// before them names: on **host-a**, on **host-b**, on **both hosts**. What other fences
// hold must be what they say; "text" is for people.

// standIns are what stands for what a page names and nobody has here.
var standIns = []struct{ page, written, here, why string }{
	{"", "s3://my-bucket/", "file:///srv/bucket/", "a folder that both hosts have"},
	{"", "?region=eu-central-1", "", "of that bucket"},
	{"", "understudy promote\n", "understudy promote --yes\n", "nobody is there to answer"},
	{"", "understudy promote --failover\n", "understudy promote --failover --yes\n", "nobody is there to answer"},
	{"README.md", "apt-get install -y ./understudy_*_amd64.deb\n", "", "the program, which the stage has: TestAStrangerFollowsREADME installs it"},
	{"docs/console.md", "understudy users add alice ", "understudy users add alice --password-file - ", "the terminal on which it asks"},
	{"docs/console.md", "understudy users password alice", "understudy users password alice --password-file -", "the terminal on which it asks"},
	{"docs/console.md", "--password-file -", "--password-file /root/password", "what is typed"},
}

// notRun are the blocks of commands that do not run on a stage, by their first line, and
// who runs them instead, if anybody.
var notRun = []struct{ page, first, why, test string }{
	{"docs/install.md", "apt-get", "the stage has no package", "TestThePackageOnDebian"},
	{"docs/applications.md", "", "they run by themselves, each with what it has to print", "TestTheLinesForApplicationsWork"},
	{"docs/upgrading.md", "apt-get install ./understudy_", "a package, and a Debian to install it in", "TestThePackageOnDebian"},
	{"docs/stores.md", "understudy restore latest --to DIR --as-of", "a bucket with versions that goes back to that day", "TestNothingThatIsLockedIsLostToLeakedCredentials"},
}

// setting is what the commands of a page need beside the two hosts.
type setting struct {
	prepare func(s *stage)
	check   func(s *stage) // after the last block
}

func TestEveryBlockOfThePagesIsRun(t *testing.T) {
	t.Parallel()
	all, err := pages.All("..")
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 40 {
		t.Fatalf("only %d blocks were found", len(all))
	}
	tests := testNames(t, "..")
	for _, n := range notRun {
		if n.why == "" || n.test != "" && !tests[n.test] {
			t.Errorf("%s: %q is not run, for %q, by %q", n.page, n.first, n.why, n.test)
		}
		if !slices.ContainsFunc(all, func(b pages.Block) bool { return b.Page == n.page && strings.HasPrefix(b.First(), n.first) }) {
			t.Errorf("%s has no block %q", n.page, n.first)
		}
	}
	commands := map[string][]pages.Block{}
	skipped := map[string]string{} // prose before blocks that do not run: it may name the host of the next one
	for _, b := range all {
		if where := fmt.Sprintf("%s:%d", b.Page, b.Line); !isCommands(b) {
			if err := reads(b); err != nil {
				t.Errorf("%s: %v", where, err)
			}
		} else if declared(b) {
			skipped[b.Page] += b.Before + "\n"
		} else {
			b.Before = skipped[b.Page] + b.Before
			delete(skipped, b.Page)
			commands[b.Page] = append(commands[b.Page], b)
		}
	}
	for page, blocks := range commands {
		set, known := settingsOfPages[page]
		if !known {
			t.Errorf("%s:%d: nothing is known of how to run this block: add the page to settingsOfPages, or the block to notRun", page, blocks[0].Line)
			continue
		}
		t.Run(page, func(t *testing.T) {
			t.Parallel()
			playPage(t, set, blocks)
		})
	}
	for page := range settingsOfPages {
		if commands[page] == nil {
			t.Errorf("%s has no block that runs", page)
		}
	}
}

func isCommands(b pages.Block) bool { return b.Language == "sh" || b.Language == pages.Indented }

func declared(b pages.Block) bool {
	for _, n := range notRun {
		if b.Page == n.page && strings.HasPrefix(b.First(), n.first) {
			return true
		}
	}
	return false
}

var promptOrCall = regexp.MustCompile(`(?m)^\s*(\$ |sudo |understudy )`)

// reads checks a block that is no command.
func reads(b pages.Block) error {
	var v any
	switch b.Language {
	case "text":
		if line := promptOrCall.FindString(b.Text); line != "" {
			return fmt.Errorf("%q is a command, and the fence says text", line)
		}
		return nil
	case "yaml":
		return yaml.Unmarshal([]byte(b.Text), &v)
	case "json":
		return json.Unmarshal([]byte(b.Text), &v)
	case "go":
		imports, body, _ := strings.Cut(b.Text, "\n\n")
		_, err := parser.ParseFile(token.NewFileSet(), "", "package p\n"+imports+"\nfunc _() {\n"+body+"\n}", parser.SkipObjectResolution)
		return err
	}
	return fmt.Errorf("nobody knows how to run a block of %q: sh (or indented) runs, text is for people, and yaml, json and go are read", b.Language)
}

// playPage runs the blocks of a page, one after the other.
func playPage(t *testing.T, set setting, blocks []pages.Block) {
	s := newStage(t)
	t.Cleanup(func() {
		if t.Failed() {
			s.hosts["host-a"].tells()
			s.hosts["host-b"].tells()
		}
	})
	if set.prepare != nil {
		set.prepare(s)
	}
	on := []string{"host-a"}
	for _, b := range blocks {
		on = namedHosts(b.Before, on)
		for _, name := range on {
			commands := b.Text
			for _, i := range standIns {
				if i.page == "" || i.page == b.Page {
					commands = strings.ReplaceAll(commands, i.written, i.here)
				}
			}
			if out, err := s.hosts[name].sh(commands); err != nil {
				t.Fatalf("%s:%d on %s: %v\n%s\nprints:\n%s", b.Page, b.Line, name, err, commands, out)
			}
		}
	}
	if set.check != nil {
		set.check(s)
	}
}

var namedHost = regexp.MustCompile(`\*\*(host-a|host-b|both hosts)\*\*`)

// namedHosts are the hosts that prose names last, or else the same as before.
func namedHosts(prose string, before []string) []string {
	all := namedHost.FindAllStringSubmatch(prose, -1)
	if len(all) == 0 {
		return before
	}
	switch name := all[len(all)-1][1]; name {
	case "both hosts":
		return []string{"host-a", "host-b"}
	default:
		return []string{name}
	}
}

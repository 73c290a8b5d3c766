package report

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// findingsOf reports what of the problems and caveats is not among the findings, or not in
// their order.
func findingsOf(s Status) error {
	last := -1
	var wrong, known []string
	for i, f := range s.Findings {
		rank := slices.Index(Topics, f.Topic)
		if rank < 0 {
			return fmt.Errorf("%q is about %q, which the runbook does not know", f.Text, f.Topic)
		}
		if i > 0 && (f.Wrong && !s.Findings[i-1].Wrong || f.Wrong == s.Findings[i-1].Wrong && rank < last) {
			return fmt.Errorf("%q stands at a wrong place of %v", f.Text, s.Findings)
		}
		last = rank
		if f.Wrong {
			wrong = append(wrong, f.Text)
		} else {
			known = append(known, f.Text)
		}
	}
	for _, two := range [][2][]string{{wrong, s.Problems}, {known, s.Caveats}} {
		if !slices.Equal(slices.Sorted(slices.Values(two[0])), slices.Sorted(slices.Values(two[1]))) {
			return fmt.Errorf("the findings are %q, told is %q", two[0], two[1])
		}
	}
	return nil
}

// TestEachFindingHasItsEntryInTheRunbook: each topic is an anchor of docs/runbook.md.
func TestEachFindingHasItsEntryInTheRunbook(t *testing.T) {
	page, err := os.ReadFile("../../docs/runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	anchors := map[Topic]bool{}
	for _, m := range regexp.MustCompile(`<a id="([^"]+)"`).FindAllStringSubmatch(string(page), -1) {
		anchors[Topic(m[1])] = true
	}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(string(page), -1) {
		anchors[Topic(strings.ReplaceAll(strings.ToLower(m[1]), " ", "-"))] = true
	}
	for _, topic := range Topics {
		if !anchors[topic] {
			t.Errorf("the runbook has no entry %s", topic)
		}
	}
}

// TestEachKindOfTroubleHasItsTopic: wherever a trouble is raised. And no topic is of a kind
// that none has.
func TestEachKindOfTroubleHasItsTopic(t *testing.T) {
	raised := map[string]bool{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		for kind, where := range troublesOf(t, path) {
			raised[kind] = true
			if _, found := troubleTopics[kind]; !found {
				t.Errorf("%s raises troubles of kind %q, which have no topic", where, kind)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for kind := range troubleTopics {
		if !raised[kind] {
			t.Errorf("nobody raises a trouble of kind %q", kind)
		}
	}
}

// troublesOf are the kinds of troubles that a package raises, each with a place.
func troublesOf(t *testing.T, folder string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	fset, constants, kinds := token.NewFileSet(), map[string][]string{}, map[token.Pos]ast.Expr{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				for i, value := range n.Values {
					constants[n.Names[i].Name] = append(constants[n.Names[i].Name], literal(value)...)
				}
			case *ast.CallExpr:
				if f, ok := n.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "Trouble" && len(n.Args) == 4 {
					kinds[n.Pos()] = n.Args[1]
				}
			}
			return true
		})
	}
	found := map[string]string{}
	for pos, kind := range kinds {
		values := literal(kind)
		if name, ok := kind.(*ast.Ident); ok {
			values = constants[name.Name] // functions may have constants of the same name
		}
		if len(values) == 0 {
			t.Errorf("%s: the kind is no constant of its package", fset.Position(pos))
		}
		for _, value := range values {
			found[value] = fset.Position(pos).String()
		}
	}
	return found
}

// literal is the text of a constant that is written out; nothing for anything else.
func literal(e ast.Expr) []string {
	text, ok := e.(*ast.BasicLit)
	if !ok || text.Kind != token.STRING {
		return nil
	}
	return []string{strings.Trim(text.Value, "\"`")}
}

package ha

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// commonOfCore are the fields of the core that every lane reads.
var commonOfCore = []string{"p", "j", "now", "t"}

// TestALaneIsReachedByItsMethodsAlone checks that no code but a lane's own methods
// touches its fields, and none but the core's what is not common to all lanes.
func TestALaneIsReachedByItsMethodsAlone(t *testing.T) {
	fset, files := productionFiles(t)
	info := &types.Info{Selections: map[*ast.SelectorExpr]*types.Selection{}}
	conf := types.Config{Importer: noImports{}, Error: func(error) {}} // of what is imported nothing matters here
	pkg, _ := conf.Check("ha", fset, files, info)
	owners, lanes := ownersOfFields(pkg)
	if lanes < 20 {
		t.Fatalf("only %d lanes were found", lanes)
	}
	for _, file := range files {
		for _, decl := range file.Decls {
			in := receiver(decl)
			ast.Inspect(decl, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if !ok || info.Selections[sel] == nil {
					return true
				}
				field, _ := info.Selections[sel].Obj().(*types.Var)
				owner := owners[field]
				if owner != "" && owner != in && (owner != "core" || !slices.Contains(commonOfCore, field.Name())) {
					t.Errorf("%s: %s is %s's: ask it by a method", fset.Position(sel.Pos()), field.Name(), owner)
				}
				return true
			})
		}
	}
}

// productionFiles are the files of this package, without its tests.
func productionFiles(t *testing.T) (*token.FileSet, []*ast.File) {
	t.Helper()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return fset, files
}

// ownersOfFields names the lane, or the core, that a field is of.
func ownersOfFields(pkg *types.Package) (owners map[*types.Var]string, lanes int) {
	owners = map[*types.Var]string{}
	for _, name := range pkg.Scope().Names() {
		of, ok := pkg.Scope().Lookup(name).Type().Underlying().(*types.Struct)
		if !ok || name != "core" && !strings.HasSuffix(name, "Lane") {
			continue
		}
		lanes++
		for field := range of.Fields() {
			if !field.Embedded() {
				owners[field] = name
			}
		}
	}
	return owners, lanes
}

// receiver names the type of a method; "": it is none.
func receiver(decl ast.Decl) string {
	f, ok := decl.(*ast.FuncDecl)
	if !ok || f.Recv == nil {
		return ""
	}
	of := f.Recv.List[0].Type
	if star, ok := of.(*ast.StarExpr); ok {
		of = star.X
	}
	name, _ := of.(*ast.Ident)
	return name.Name
}

// noImports is an importer that finds nothing.
type noImports struct{}

func (noImports) Import(string) (*types.Package, error) { return nil, errors.New("not needed") }

package e2e

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// mostMethods is how many methods a type has at the most, with those of what it embeds.
// One that has more knows too much: it is to be taken apart, not hidden by embedding.
const mostMethods = 45

// TestNoTypeKnowsEverything: an agent once had 222 methods.
func TestNoTypeKnowsEverything(t *testing.T) {
	types := map[string]*typeSeen{} // by folder and name
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "tools"):
			return filepath.SkipDir
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			seeTypes(types, filepath.Dir(path), decl)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	largest := 0
	for name, seen := range types {
		methods := map[string]bool{}
		seen.addTo(methods, types, map[*typeSeen]bool{})
		if largest = max(largest, len(methods)); len(methods) > mostMethods {
			t.Errorf("%s has %d methods, %d at the most", strings.TrimPrefix(name, "../"), len(methods), mostMethods)
		}
	}
	if largest < 20 {
		t.Errorf("no type has more than %d methods: were they counted?", largest)
	}
}

// typeSeen is a type with its own methods, and what it embeds of its own package.
type typeSeen struct {
	methods []string
	embeds  []string
}

// addTo adds the methods of a type, and of what it embeds, to a set.
func (s *typeSeen) addTo(methods map[string]bool, types map[string]*typeSeen, done map[*typeSeen]bool) {
	if s == nil || done[s] {
		return
	}
	done[s] = true
	for _, name := range s.methods {
		methods[name] = true
	}
	for _, embedded := range s.embeds {
		types[embedded].addTo(methods, types, done)
	}
}

func seeTypes(types map[string]*typeSeen, dir string, decl ast.Decl) {
	at := func(name string) *typeSeen {
		key := dir + "." + name
		if types[key] == nil {
			types[key] = &typeSeen{}
		}
		return types[key]
	}
	switch decl := decl.(type) {
	case *ast.FuncDecl:
		if decl.Recv != nil {
			s := at(nameOf(decl.Recv.List[0].Type))
			s.methods = append(s.methods, decl.Name.Name)
		}
	case *ast.GenDecl:
		for _, spec := range decl.Specs {
			named, ok := spec.(*ast.TypeSpec)
			if !ok {
				continue
			}
			switch of := named.Type.(type) {
			case *ast.StructType:
				for _, field := range of.Fields.List {
					if len(field.Names) == 0 {
						at(named.Name.Name).embeds = append(at(named.Name.Name).embeds, dir+"."+nameOf(field.Type))
					}
				}
			case *ast.InterfaceType:
				for _, field := range of.Methods.List {
					for _, name := range field.Names {
						at(named.Name.Name).methods = append(at(named.Name.Name).methods, name.Name)
					}
					if len(field.Names) == 0 {
						at(named.Name.Name).embeds = append(at(named.Name.Name).embeds, dir+"."+nameOf(field.Type))
					}
				}
			}
		}
	}
}

// nameOf is the name of a type of this package that an expression is about, such as
// *List[T]; "" for another one.
func nameOf(e ast.Expr) string {
	for {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.IndexListExpr:
			e = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

package settings

import (
	"slices"

	"github.com/goccy/go-yaml/ast"
)

// references puts what a file refers to in the place of each reference: an alias, or a
// group that is merged into another one.
type references struct {
	named map[string]ast.Node // what has a name, as far as the file has been read
	left  int                 // how many parts references may still bring in
}

// mostReferred is more than any file needs: a few lines can refer to each other so that
// they stand for billions.
const mostReferred = 10_000

func (r *references) resolve(node ast.Node) (_ ast.Node, err error) {
	switch n := node.(type) {
	case *ast.AnchorNode:
		value, err := r.resolve(n.Value)
		if err == nil {
			r.named[scalar(n.Name)] = value
		}
		return value, err
	case *ast.AliasNode:
		return r.alias(n)
	case *ast.TagNode:
		n.Value, err = r.resolve(n.Value)
	case *ast.SequenceNode:
		for i := range n.Values {
			if n.Values[i], err = r.resolve(n.Values[i]); err != nil {
				return nil, err
			}
		}
	case *ast.MappingNode:
		n.Values, err = r.entries(n.Values)
	case *ast.MappingValueNode:
		entries, err := r.entries([]*ast.MappingValueNode{n})
		return ast.Mapping(n.Start, false, entries...), err
	}
	return node, err
}

// alias never quotes the name: it may be a password without quotes.
func (r *references) alias(n *ast.AliasNode) (ast.Node, error) {
	value, ok := r.named[scalar(n.Value)]
	if !ok {
		return nil, lineErrorf(line(n), "an alias (*…) refers to nothing that stands before it; name that with &…, or put quotes around a text that begins with *")
	}
	ast.Walk(visitor(func(ast.Node) { r.left-- }), value)
	if r.left < 0 {
		return nil, lineErrorf(line(n), "the file refers to itself too often; write out what is meant")
	}
	return value, nil
}

// entries are those of a group, and of the groups that are merged into it: its own keys
// win, and then those of the group that is named first.
func (r *references) entries(of []*ast.MappingValueNode) (all []*ast.MappingValueNode, err error) {
	var merged []*ast.MappingValueNode
	for _, e := range of {
		if e.Value, err = r.resolve(e.Value); err != nil {
			return nil, err
		}
		if e.Key.Type() != ast.MergeKeyType {
			all = append(all, e)
			continue
		}
		groups := []ast.Node{e.Value}
		if list, ok := e.Value.(*ast.SequenceNode); ok {
			groups = list.Values
		}
		for _, group := range groups {
			more, ok := entriesOf(group)
			if !ok {
				return nil, lineErrorf(line(e.Key), "what is merged must be %s", wantedGroup)
			}
			merged = append(merged, more...)
		}
	}
	for _, m := range merged {
		if !slices.ContainsFunc(all, func(e *ast.MappingValueNode) bool { return scalar(e.Key) == scalar(m.Key) }) {
			all = append(all, m)
		}
	}
	return all, nil
}

type visitor func(ast.Node)

// Visit implements ast.Visitor.
func (v visitor) Visit(n ast.Node) ast.Visitor {
	v(n)
	return v
}

package settings

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"github.com/understudy-ha/understudy/cmd/understudy/suggest"
)

// decoder reads YAML into structs, and goes on after a mistake: the library stops at the
// first one.
type decoder struct {
	mistakes []*lineError
}

// decode reads a group of keys into a struct. The error joins all mistakes.
func decode(node ast.Node, into any) error {
	d := &decoder{}
	d.value("$", node, reflect.ValueOf(into).Elem())
	var errs []error
	for _, m := range d.mistakes {
		errs = append(errs, m)
	}
	return errors.Join(errs...)
}

// mistake notes what is wrong at a place, which tells what follows from it.
func (d *decoder) mistake(place string, err error) {
	for _, e := range flat(err) {
		m := &lineError{line: 1, text: e.Error()}
		if located := (*lineError)(nil); errors.As(e, &located) {
			m = &lineError{line: located.line, text: located.text}
		}
		m.place = place
		d.mistakes = append(d.mistakes, m)
	}
}

// flat are the errors that were joined.
func flat(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, flat(e)...)
	}
	return all
}

// value reads a node into v.
func (d *decoder) value(place string, node ast.Node, v reflect.Value) {
	own, is := v.Addr().Interface().(yaml.NodeUnmarshaler)
	switch {
	case is:
		if err := own.UnmarshalYAML(node); err != nil {
			d.mistake(place, err)
		}
	case node.Type() == ast.NullType:
	case v.Kind() == reflect.Pointer:
		target := reflect.New(v.Type().Elem())
		d.value(place, node, target.Elem())
		v.Set(target)
	case v.Kind() == reflect.Struct:
		d.group(place, node, v)
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		d.list(place, node, v)
	default:
		if err := yaml.NodeToValue(node, v.Addr().Interface(), yaml.Strict()); err != nil {
			d.mistake(place, plain(err))
		}
	}
}

func (d *decoder) list(place string, node ast.Node, v reflect.Value) {
	list, ok := node.(*ast.SequenceNode)
	if !ok {
		d.mistake(place, lineErrorf(line(node), "here must be %s", wantedList))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(list.Values), len(list.Values)))
	for i, one := range list.Values {
		d.value(fmt.Sprintf("%s[%d]", place, i), one, v.Index(i))
	}
}

// group reads a mapping into a struct by the names of its fields' tags.
func (d *decoder) group(place string, node ast.Node, v reflect.Value) {
	entries, ok := entriesOf(node)
	if !ok {
		d.mistake(place, lineErrorf(line(node), "here must be %s", wantedGroup))
		return
	}
	var keys []string
	fields := map[string]reflect.Value{}
	for _, f := range reflect.VisibleFields(v.Type()) {
		if key := f.Tag.Get("yaml"); key != "" {
			keys, fields[key] = append(keys, key), v.FieldByIndex(f.Index)
		}
	}
	var seen []string
	for _, e := range entries {
		key := scalar(e.Key)
		field, known := fields[key]
		switch {
		case slices.Contains(seen, key):
			d.mistake(place+"."+key, lineErrorf(line(e.Key), "the key %q is there already; keep one", key))
		case known:
			d.value(place+"."+key, e.Value, field)
		default:
			meant := suggest.Nearest(key, keys)
			d.mistake(place+"."+meant, lineErrorf(line(e.Key), "unknown key %q%s", key, suggest.Instead(key, "keys here", keys)))
		}
		seen = append(seen, key)
	}
}

func entriesOf(node ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := node.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	return nil, false
}

// follows reports whether a mistake at a place may come of another one, which was found
// when the file was read. What is wrong with a source is looked for no more where
// something of it could not be read.
func (d *decoder) follows(place string) bool {
	if i := strings.Index(place, "]"); strings.HasPrefix(place, "$.sources[") && !strings.HasSuffix(place, ".name") {
		place = place[:i+1]
	}
	return slices.ContainsFunc(d.mistakes, func(m *lineError) bool { return strings.HasPrefix(m.place, place) })
}

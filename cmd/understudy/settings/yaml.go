package settings

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/understudy-ha/understudy/ha"
)

// The YAML file as it is written. file.go makes sense of it.
type (
	fileYAML struct {
		Application applicationYAML `yaml:"application"`
		Sources     []sourceYAML    `yaml:"sources"`
		Hooks       hooksYAML       `yaml:"hooks"`
		Rehearsal   rehearsalYAML   `yaml:"rehearsal"`
		ApplyEvery  duration        `yaml:"apply_every"`
		Prometheus  *prometheusYAML `yaml:"prometheus"`
	}
	applicationYAML struct {
		Version versionYAML `yaml:"version"`
	}
	hooksYAML struct {
		PreBackup  hookYAML `yaml:"pre_backup"`
		PostBackup hookYAML `yaml:"post_backup"`
		Promote    hookYAML `yaml:"promote"`
		Demote     hookYAML `yaml:"demote"`
		Probe      hookYAML `yaml:"probe"`
	}
	prometheusYAML struct {
		TargetsFile string `yaml:"targets_file"`
		Address     string `yaml:"address"`
	}
)

// duration is a time.Duration whose mistakes name their line.
type duration time.Duration

// UnmarshalYAML reads what time.ParseDuration reads.
func (d *duration) UnmarshalYAML(node ast.Node) error {
	text := scalar(node)
	v, err := time.ParseDuration(text)
	if err != nil {
		return lineErrorf(line(node), "%q is not a duration; write it like 30s or 5m", text)
	}
	if v <= 0 {
		return lineErrorf(line(node), "duration %s must be longer than nothing", text)
	}
	*d = duration(v)
	return nil
}

// rehearsalYAML says how often a standby rehearses.
type rehearsalYAML ha.RehearsalPolicy

// UnmarshalYAML reads what ha.ParseRehearsalPolicy reads.
func (r *rehearsalYAML) UnmarshalYAML(node ast.Node) error {
	policy, err := ha.ParseRehearsalPolicy(scalar(node))
	if err != nil {
		return lineErrorf(line(node), "%v", err)
	}
	*r = rehearsalYAML(policy)
	return nil
}

// hookYAML is an argv list, or {command: [...], timeout: 30s}.
type hookYAML struct {
	Command []string
	Timeout duration
}

// UnmarshalYAML reads either form.
func (h *hookYAML) UnmarshalYAML(node ast.Node) error {
	switch node.Type() {
	case ast.NullType:
		return nil
	case ast.SequenceType:
		return yaml.NodeToValue(node, &h.Command, yaml.Strict())
	case ast.MappingType, ast.MappingValueType:
		var long struct {
			Command []string `yaml:"command"`
			Timeout duration `yaml:"timeout"`
		}
		if err := decode(node, &long); err != nil {
			return err
		}
		if len(long.Command) == 0 {
			return lineErrorf(line(node), "command is missing or empty; write {command: [program, argument], timeout: 30s}")
		}
		*h = hookYAML(long)
		return nil
	default:
		return lineErrorf(line(node), "a command is a list of words, such as [systemctl, start, myapp]; no shell reads it")
	}
}

// versionYAML is a literal, or {command: [...]}.
type versionYAML struct {
	Literal string
	Hook    hookYAML
}

// UnmarshalYAML reads either form. A literal stays as it is written: 1.10 is
// not 1.1.
func (v *versionYAML) UnmarshalYAML(node ast.Node) error {
	switch node.Type() {
	case ast.MappingType, ast.MappingValueType:
		return v.Hook.UnmarshalYAML(node)
	case ast.SequenceType:
		return lineErrorf(line(node), "a version is a literal such as 1.10, or {command: [myapp, --version]}")
	default:
		v.Literal = scalar(node)
		return nil
	}
}

// lineError is a mistake in one line of the file.
type lineError struct {
	line  int
	text  string
	place string // such as $.sources[1].name; "" where it is not known
}

func (e *lineError) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.text) }

func lineErrorf(line int, format string, args ...any) error {
	return &lineError{line: line, text: fmt.Sprintf(format, args...)}
}

func line(node ast.Node) int {
	if t := node.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line
	}
	return 1
}

func scalar(node ast.Node) string {
	if t := node.GetToken(); t != nil {
		return t.Value
	}
	return ""
}

// parseFile reads the YAML, strictly. The error is for what is no YAML; mistakes in what
// it says are the decoder's. Neither ever quotes the file's values, which may hold
// passwords.
func parseFile(text []byte) (*fileYAML, *ast.File, *decoder, error) {
	tree, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, nil, nil, plain(err)
	}
	if len(tree.Docs) > 1 {
		return nil, nil, nil, lineErrorf(line(tree.Docs[1]), "a second document begins; keep one")
	}
	if len(tree.Docs) == 0 || tree.Docs[0].Body == nil {
		return nil, nil, nil, errors.New("it is empty")
	}
	f := &fileYAML{}
	d := &decoder{}
	body, err := (&references{named: map[string]ast.Node{}, left: mostReferred}).resolve(tree.Docs[0].Body)
	if err != nil {
		return nil, nil, nil, err
	}
	tree.Docs[0].Body = body
	d.value("$", body, reflect.ValueOf(f).Elem())
	return f, tree, d, nil
}

// plain turns the library's errors into one line for people.
func plain(err error) error {
	var bad *lineError
	if errors.As(err, &bad) {
		return bad
	}
	var kind *yaml.TypeError
	if errors.As(err, &kind) {
		return lineErrorf(kind.Token.Position.Line, "here must be %s", wanted(kind.DstType))
	}
	var shape *yaml.UnexpectedNodeTypeError
	if errors.As(err, &shape) {
		return lineErrorf(shape.Token.Position.Line, "here must be %s", wantedNode(shape.Expected))
	}
	var located yaml.Error
	if !errors.As(err, &located) || located.GetToken() == nil {
		return err
	}
	text := located.GetMessage()
	var unknown *yaml.UnknownFieldError
	if errors.As(err, &unknown) {
		text = fmt.Sprintf("unknown key %q", located.GetToken().Value)
	}
	return lineErrorf(located.GetToken().Position.Line, "%s", text)
}

const (
	wantedList  = "a list, such as [a, b]"
	wantedGroup = "a group of keys, such as {path: /srv/app}"
)

func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Slice:
		return wantedList
	case reflect.Struct, reflect.Map, reflect.Pointer:
		return wantedGroup
	case reflect.String:
		return "text"
	default:
		return "a " + strings.ToLower(t.Kind().String())
	}
}

func wantedNode(t ast.NodeType) string {
	switch t {
	case ast.SequenceType:
		return wantedList
	case ast.MappingType, ast.MappingValueType:
		return wantedGroup
	default:
		return "a " + strings.ToLower(t.String())
	}
}

// lineOf finds the line of a place in the file, such as $.sources[1].name, or
// of the nearest place around it that is there.
func lineOf(tree *ast.File, place string) int {
	for place != "" {
		if path, err := yaml.PathString(place); err == nil {
			if node, err := path.FilterFile(tree); err == nil && node != nil {
				return line(node)
			}
		}
		place = place[:max(0, strings.LastIndexAny(place, ".["))]
	}
	return 1
}

package openapi

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

//go:embed openapi-3.1.json
var specification []byte

// Document is an OpenAPI 3.1 document, with its schemas compiled.
type Document struct {
	mux        *http.ServeMux        // finds the operation of a request
	operations map[string]*operation // by the mux's pattern
}

// operation is what a method of a path takes and answers.
type operation struct {
	path       []string // segments; a parameter's in braces
	parameters []parameter
	request    *body
	responses  map[string]*body // by status, or "default"
}

type parameter struct {
	name, in string
	required bool
	schema   *jsonschema.Schema
}

// body is what a request or an answer may carry.
type body struct {
	required bool
	schemas  map[string]*jsonschema.Schema // by media type; of no JSON: nil
}

// Parse reads a document and judges it by the specification.
func Parse(text []byte) (*Document, error) {
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	for name, raw := range map[string][]byte{documentURL: text, specURL: specification} {
		parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		if err != nil {
			return nil, fmt.Errorf("parse %s: %w", name, err)
		}
		if err := c.AddResource(name, parsed); err != nil {
			return nil, fmt.Errorf("add %s: %w", name, err)
		}
	}
	spec, err := c.Compile(specURL)
	if err != nil {
		return nil, fmt.Errorf("compile the specification: %w", err)
	}
	if err := validate(spec, text); err != nil {
		return nil, fmt.Errorf("this is no OpenAPI document: %w", err)
	}
	return newDocument(c, text)
}

const (
	documentURL = "https://api.invalid/openapi.json"
	specURL     = "https://spec.openapis.org/oas/3.1/schema/2022-10-07"
)

// content is how a document writes what a body may be.
type content struct {
	Required bool
	Content  map[string]struct{ Schema json.RawMessage }
}

// described is how a document writes an operation.
type described struct {
	Parameters []struct {
		Name, In string
		Required bool
	}
	RequestBody *content
	Responses   map[string]content
}

func newDocument(c *jsonschema.Compiler, text []byte) (*Document, error) {
	var written struct {
		Paths map[string]map[string]described
	}
	if err := json.Unmarshal(text, &written); err != nil {
		return nil, fmt.Errorf("read the operations: %w", err)
	}
	d := &Document{mux: http.NewServeMux(), operations: make(map[string]*operation)}
	for path, methods := range written.Paths {
		for method, w := range methods {
			op, err := compile(c, w, "paths", path, method)
			if err != nil {
				return nil, err
			}
			op.path = strings.Split(path, "/")
			pattern := strings.ToUpper(method) + " " + path
			d.mux.HandleFunc(pattern, http.NotFound)
			d.operations[pattern] = op
		}
	}
	return d, nil
}

func compile(c *jsonschema.Compiler, w described, at ...string) (*operation, error) {
	op := &operation{responses: make(map[string]*body)}
	for i, p := range w.Parameters {
		schema, err := schemaAt(c, append(at, "parameters", fmt.Sprint(i), "schema"))
		if err != nil {
			return nil, err
		}
		op.parameters = append(op.parameters, parameter{p.Name, p.In, p.Required, schema})
	}
	if w.RequestBody != nil {
		var err error
		if op.request, err = compileBody(c, *w.RequestBody, append(at, "requestBody")); err != nil {
			return nil, err
		}
	}
	for status, r := range w.Responses {
		var err error
		if op.responses[status], err = compileBody(c, r, append(at, "responses", status)); err != nil {
			return nil, err
		}
	}
	return op, nil
}

func compileBody(c *jsonschema.Compiler, w content, at []string) (*body, error) {
	b := &body{required: w.Required, schemas: make(map[string]*jsonschema.Schema)}
	for kind, what := range w.Content {
		b.schemas[kind] = nil
		if what.Schema == nil || !isJSON(kind) {
			continue
		}
		schema, err := schemaAt(c, append(at, "content", kind, "schema"))
		if err != nil {
			return nil, err
		}
		b.schemas[kind] = schema
	}
	return b, nil
}

func isJSON(kind string) bool { return kind == "application/json" || strings.HasSuffix(kind, "+json") }

var pointer = strings.NewReplacer("~", "~0", "/", "~1")

// schemaAt compiles the schema at a place in the document.
func schemaAt(c *jsonschema.Compiler, at []string) (*jsonschema.Schema, error) {
	var fragment strings.Builder
	for _, token := range at {
		fragment.WriteString("/" + url.PathEscape(pointer.Replace(token)))
	}
	schema, err := c.Compile(documentURL + "#" + fragment.String())
	if err != nil {
		return nil, fmt.Errorf("compile the schema at %s: %w", strings.Join(at, " "), err)
	}
	return schema, nil
}

func validate(schema *jsonschema.Schema, text []byte) error {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return schema.Validate(value)
}

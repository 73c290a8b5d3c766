package openapi

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Describes reports whether the document has a request's operation.
func (d *Document) Describes(r *http.Request) bool {
	_, err := d.operation(r)
	return err == nil
}

// Request judges a request, whose body was sent.
func (d *Document) Request(r *http.Request, sent []byte) error {
	op, err := d.operation(r)
	if err != nil {
		return err
	}
	errs := op.checkParameters(r)
	switch {
	case op.request == nil && len(sent) > 0:
		errs = append(errs, errors.New("a body was sent, and none is described"))
	case op.request != nil && len(sent) == 0 && op.request.required:
		errs = append(errs, errors.New("no body was sent, and one is required"))
	case op.request != nil && len(sent) > 0:
		errs = append(errs, op.request.check(r.Header, sent))
	}
	return errors.Join(errs...)
}

// Response judges the answer to a request.
func (d *Document) Response(r *http.Request, status int, header http.Header, answer []byte) error {
	op, err := d.operation(r)
	if err != nil {
		return err
	}
	b := op.responses[strconv.Itoa(status)]
	if b == nil {
		b = op.responses["default"]
	}
	switch {
	case b == nil:
		return fmt.Errorf("status %d is not described", status)
	case r.Method == http.MethodHead:
		return nil
	case len(b.schemas) == 0 && len(answer) == 0:
		return nil
	case len(b.schemas) == 0:
		return fmt.Errorf("status %d has a body, and none is described", status)
	}
	return b.check(header, answer)
}

func (d *Document) operation(r *http.Request) (*operation, error) {
	_, pattern := d.mux.Handler(r)
	if op := d.operations[pattern]; op != nil {
		return op, nil
	}
	return nil, fmt.Errorf("%s %s is not described", r.Method, r.URL.Path)
}

// check judges what a message carries.
func (b *body) check(header http.Header, text []byte) error {
	kind, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil {
		return fmt.Errorf("read content type: %w", err)
	}
	schema, described := b.schemas[kind]
	if !described {
		return fmt.Errorf("content type %s is not described", kind)
	}
	if schema == nil {
		return nil
	}
	return validate(schema, text)
}

// checkParameters judges what a request says outside its body.
func (op *operation) checkParameters(r *http.Request) []error {
	var errs []error
	query := r.URL.Query()
	for _, p := range op.parameters {
		values, given := p.values(op, r, query)
		delete(query, p.name)
		if !given {
			if p.required {
				errs = append(errs, fmt.Errorf("the %s parameter %s is missing", p.in, p.name))
			}
			continue
		}
		if err := p.schema.Validate(typed(p.schema, strings.Join(values, ","))); err != nil {
			errs = append(errs, fmt.Errorf("the %s parameter %s: %w", p.in, p.name, err))
		}
	}
	for name := range query {
		errs = append(errs, fmt.Errorf("the query parameter %s is not described", name))
	}
	return errs
}

func (p parameter) values(op *operation, r *http.Request, query url.Values) (values []string, given bool) {
	switch p.in {
	case "path":
		i := slices.Index(op.path, "{"+p.name+"}")
		if at := strings.Split(r.URL.Path, "/"); i >= 0 && i < len(at) {
			return at[i : i+1], true
		}
	case "query":
		values, given = query[p.name]
	case "header":
		values, given = r.Header[http.CanonicalHeaderKey(p.name)]
	case "cookie":
		if c, err := r.Cookie(p.name); err == nil {
			return []string{c.Value}, true
		}
	}
	return values, given
}

// typed gives the value that a parameter's text stands for under its schema.
// One that stands for nothing stays a text, which the schema refuses.
func typed(schema *jsonschema.Schema, text string) any {
	if schema == nil || schema.Types == nil {
		return text
	}
	types := schema.Types.ToStrings()
	switch {
	case slices.Contains(types, "array"):
		list := []any{}
		for item := range strings.SplitSeq(text, ",") {
			list = append(list, typed(schema.Items2020, item))
		}
		return list
	case slices.Contains(types, "string"):
		return text
	}
	if value, err := jsonschema.UnmarshalJSON(strings.NewReader(text)); err == nil {
		return value
	}
	return text
}

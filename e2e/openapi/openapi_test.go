package openapi

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const things = `{
  "openapi": "3.1.0", "info": {"title": "Things", "version": "1"},
  "paths": {"/things/{id}": {
    "get": {
      "parameters": [
        {"name": "id", "in": "path", "required": true, "schema": {"type": "string", "pattern": "^t"}},
        {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1}},
        {"name": "kind", "in": "query", "explode": false, "schema": {"type": ["array", "null"], "items": {"enum": ["a", "b"]}}},
        {"name": "X-Deep", "in": "header", "required": true, "schema": {"type": "boolean"}}
      ],
      "responses": {
        "200": {"description": "a thing", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}, "text/event-stream": {}}},
        "204": {"description": "nothing"},
        "default": {"description": "a problem", "content": {"application/problem+json": {"schema": {"type": "object", "required": ["detail"]}}}}
      }
    },
    "put": {
      "parameters": [{"name": "id", "in": "path", "required": true, "schema": {"type": "string"}}],
      "requestBody": {"required": true, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}}},
      "responses": {"204": {"description": "done"}}
    }
  }},
  "components": {"schemas": {"Thing": {"type": "object", "additionalProperties": false, "required": ["time"],
    "properties": {"time": {"type": "string", "format": "date-time"}, "n": {"type": "integer"}}}}}
}`

func read(t *testing.T) *Document {
	t.Helper()
	d, err := Parse([]byte(things))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// holds checks that err is there when, and only when, a part of it is wanted.
func holds(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("got %v, want %q", err, want)
	}
}

func TestRequests(t *testing.T) {
	tests := map[string]struct{ method, path, deep, body, want string }{
		"as described":         {"GET", "/things/t1?limit=3&kind=a,b", "true", "", ""},
		"another path":         {"GET", "/other", "true", "", "GET /other is not described"},
		"another method":       {"DELETE", "/things/t1", "", "", "DELETE /things/t1 is not described"},
		"path parameter":       {"GET", "/things/x", "true", "", "path parameter id"},
		"query parameter":      {"GET", "/things/t1?limit=0", "true", "", "query parameter limit"},
		"no number":            {"GET", "/things/t1?limit=many", "true", "", "query parameter limit"},
		"one of a list":        {"GET", "/things/t1?kind=a,c", "true", "", "query parameter kind"},
		"unknown parameter":    {"GET", "/things/t1?colour=red", "true", "", "colour is not described"},
		"header":               {"GET", "/things/t1", "deep", "", "header parameter X-Deep"},
		"missing header":       {"GET", "/things/t1", "", "", "X-Deep is missing"},
		"body of nothing":      {"GET", "/things/t1", "true", "{}", "none is described"},
		"body":                 {"PUT", "/things/t1", "", `{"time": "2026-03-04T05:06:07Z"}`, ""},
		"no body":              {"PUT", "/things/t1", "", "", "one is required"},
		"body without a field": {"PUT", "/things/t1", "", `{"n": 1}`, "time"},
		"body with no time":    {"PUT", "/things/t1", "", `{"time": "yesterday"}`, "date-time"},
		"body of no JSON":      {"PUT", "/things/t1", "", `{`, "EOF"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), tt.method, "http://host"+tt.path, strings.NewReader(tt.body))
			r.Header.Set("Content-Type", "application/json")
			if tt.deep != "" {
				r.Header.Set("X-Deep", tt.deep)
			}
			holds(t, read(t).Request(r, []byte(tt.body)), tt.want)
		})
	}
}

func TestResponses(t *testing.T) {
	tests := map[string]struct {
		method     string
		status     int
		kind, body string
		want       string
	}{
		"as described":   {"GET", 200, "application/json; charset=utf-8", `{"time": "2026-03-04T05:06:07Z", "n": 1}`, ""},
		"unknown field":  {"GET", 200, "application/json", `{"time": "2026-03-04T05:06:07Z", "m": 1}`, "additional properties"},
		"other type":     {"GET", 200, "text/plain", "hello", "text/plain is not described"},
		"no type":        {"GET", 200, "", "hello", "content type"},
		"stream":         {"GET", 200, "text/event-stream", "data: 1\n\n", ""},
		"nothing":        {"GET", 204, "", "", ""},
		"not nothing":    {"GET", 204, "", "hello", "none is described"},
		"any problem":    {"GET", 418, "application/problem+json", `{"detail": "a teapot"}`, ""},
		"no problem":     {"GET", 418, "application/problem+json", `{}`, "detail"},
		"another status": {"PUT", 200, "application/json", "{}", "status 200 is not described"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), tt.method, "http://host/things/t1", nil)
			header := http.Header{}
			if tt.kind != "" {
				header.Set("Content-Type", tt.kind)
			}
			holds(t, read(t).Response(r, tt.status, header, []byte(tt.body)), tt.want)
		})
	}
}

func TestWhatIsNoDocumentIsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON":        `{`,
		"no title":       strings.Replace(things, `"title": "Things", `, "", 1),
		"no description": strings.Replace(things, `{"description": "done"}`, "{}", 1),
		"dangling":       strings.Replace(things, "#/components/schemas/Thing", "#/components/schemas/Other", 1),
		"no schema":      strings.Replace(things, `{"type": "integer", "minimum": 1}`, `{"type": "number of things"}`, 1),
	} {
		if _, err := Parse([]byte(text)); err == nil {
			t.Errorf("%s: it was read", name)
		}
	}
}

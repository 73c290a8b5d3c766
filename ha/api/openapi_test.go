package api

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// design is what the design promises, and what scripts rely on.
var design = []string{
	"GET /healthz", "GET /readyz", "GET /leader", "GET /metrics",
	"GET /api/v1/status", "GET /api/v1/instances", "POST /api/v1/instances", "DELETE /api/v1/instances/{name}",
	"GET /api/v1/backups", "POST /api/v1/backups", "GET /api/v1/backups/{id}", "GET /api/v1/events", "GET /api/v1/history",
	"GET /api/v1/webhooks", "POST /api/v1/webhooks", "DELETE /api/v1/webhooks/{id}", "POST /api/v1/webhooks/{id}/test",
	"POST /api/v1/promotions", "GET /api/v1/promotions/{id}", "DELETE /api/v1/promotions/{id}",
	"GET /api/v1/config", "PUT /api/v1/config",
	"POST /api/v1/schedule/pause", "POST /api/v1/schedule/resume", "POST /api/v1/application/start",
	"POST /api/v1/notifications", "GET /api/v1/recovery", "POST /api/v1/recovery", "POST /api/v1/sightings",
	"POST /api/v1/sessions", "GET /api/v1/sessions/current", "DELETE /api/v1/sessions/current",
	"POST /api/v1/sources/accept", "GET /api/v1/users", "POST /api/v1/users", "DELETE /api/v1/users/{name}", "PUT /api/v1/users/{name}/password",
	"POST /api/v1/backups/{id}/verify", "GET /api/v1/lags", "GET /api/v1/recovery-points", "GET /api/v1/windows", "GET /api/v1/host", "GET /api/v1/backups/{id}/diff",
}

// document is as much of an OpenAPI document as the tests look at.
type document struct {
	OpenAPI    string
	Info       struct{ Title, Version string }
	Paths      map[string]map[string]operationObject
	Components struct {
		Schemas         map[string]json.RawMessage
		SecuritySchemes map[string]struct{ Type, Scheme string }
	}
}

type operationObject struct {
	OperationID string
	Summary     string
	Security    []map[string][]string
	Parameters  []struct {
		Name, In string
		Required bool
	}
	Responses map[string]struct {
		Description string
		Content     map[string]struct{ Schema json.RawMessage }
	}
}

func readDocument(t *testing.T, s *served) (document, string) {
	t.Helper()
	a := s.local(t, "GET", "/api/v1/openapi.json", "")
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/openapi+json" {
		t.Fatalf("%d %v", a.status, a.header)
	}
	var d document
	if err := json.Unmarshal([]byte(a.body), &d); err != nil {
		t.Fatal(err)
	}
	return d, a.body
}

func TestTheDocumentDescribesEveryCall(t *testing.T) {
	d, _ := readDocument(t, start(t, ""))
	if !strings.HasPrefix(d.OpenAPI, "3.1.") || d.Info.Title == "" || d.Info.Version != "1.2.3" {
		t.Errorf("openapi %q, info %+v", d.OpenAPI, d.Info)
	}
	var got []string
	for path, operations := range d.Paths {
		for method := range operations {
			got = append(got, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(got)
	want := slices.Sorted(slices.Values(design))
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

var pathParameter = regexp.MustCompile(`{(\w+)}`)

// TestTheDocumentIsSound holds it against the parts of the specification that
// a generator stumbles over.
func TestTheDocumentIsSound(t *testing.T) {
	d, text := readDocument(t, start(t, ""))
	ids := map[string]bool{}
	for path, operations := range d.Paths {
		for method, o := range operations {
			name := strings.ToUpper(method) + " " + path
			if o.OperationID == "" || ids[o.OperationID] || o.Summary == "" {
				t.Errorf("%s: operationId %q must be there, once, and a summary", name, o.OperationID)
			}
			ids[o.OperationID] = true
			for _, match := range pathParameter.FindAllStringSubmatch(path, -1) {
				if !slices.ContainsFunc(o.Parameters, func(p struct {
					Name, In string
					Required bool
				}) bool {
					return p.Name == match[1] && p.In == "path" && p.Required
				}) {
					t.Errorf("%s: the path parameter %s is not described", name, match[1])
				}
			}
			if secured := len(o.Security) > 0; secured == public[name] {
				t.Errorf("%s: security %v, public %t", name, o.Security, public[name])
			}
			checkResponses(t, name, o)
		}
	}
	for _, match := range regexp.MustCompile(`"\$ref":"([^"]*)"`).FindAllStringSubmatch(text, -1) {
		if name, ok := strings.CutPrefix(match[1], "#/components/schemas/"); !ok || d.Components.Schemas[name] == nil {
			t.Errorf("%s refers to nothing", match[1])
		}
	}
	if s := d.Components.SecuritySchemes["token"]; s.Type != "http" || s.Scheme != "bearer" {
		t.Errorf("security scheme: %+v", s)
	}
}

func checkResponses(t *testing.T, name string, o operationObject) {
	t.Helper()
	good := false
	for code, r := range o.Responses {
		if r.Description == "" {
			t.Errorf("%s: the answer %s has no description", name, code)
		}
		good = good || strings.HasPrefix(code, "2")
		if code >= "400" && code != "default" && name != "GET /leader" && r.Content["application/problem+json"].Schema == nil {
			t.Errorf("%s: the answer %s is no problem document", name, code)
		}
	}
	if !good {
		t.Errorf("%s has no good answer", name)
	}
}

// TestAnswersAreWhatTheDocumentSays makes calls that succeed: every answer in
// this package's tests is held against the document, unknown fields included.
func TestAnswersAreWhatTheDocumentSays(t *testing.T) {
	s := start(t, "")
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/leader", "", 200},
		{"GET", "/api/v1/status", "", 200},
		{"GET", "/api/v1/instances", "", 200},
		{"GET", "/api/v1/backups", "", 200},
		{"GET", "/api/v1/backups/" + ref(7).ID, "", 200},
		{"GET", "/api/v1/backups/none", "", 404},
		{"GET", "/api/v1/events", "", 200},
		{"GET", "/api/v1/config", "", 200},
		{"POST", "/api/v1/backups", "", 202},
		{"POST", "/api/v1/backups", `{"wait":true}`, 200},
		{"POST", "/api/v1/backups/" + ref(7).ID + "/verify", `{"deep":true}`, 200},
		{"GET", "/api/v1/lags", "", 200},
		{"GET", "/api/v1/recovery-points", "", 200},
		{"GET", "/api/v1/windows", "", 200},
		{"GET", "/api/v1/host", "", 200},
		{"GET", "/api/v1/backups/x/diff?base=y", "", 200},
		{"GET", "/api/v1/users", "", 200},
		{"GET", "/api/v1/webhooks", "", 200},
		{"GET", "/api/v1/sessions/current", "", 200},
		{"POST", "/api/v1/promotions", `{"dry_run":true}`, 200},
		{"POST", "/api/v1/promotions", `{}`, 202},
		{"GET", "/api/v1/promotions/p1", "", 200},
	} {
		if got := s.local(t, c.method, c.path, c.body); got.status != c.status {
			t.Errorf("%s %s: %d, want %d: %s", c.method, c.path, got.status, c.status, got.body)
		}
	}
}

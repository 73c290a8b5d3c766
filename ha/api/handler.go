package api

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// maxBody is the most bytes that a request's body may have.
const maxBody = 64 << 10

// api is the handlers of one agent.
type api struct {
	witness Witness // nil while a host is set up
	log     *slog.Logger
	now     func() time.Time
	closing <-chan struct{} // closed when the server shuts down
	mux     *http.ServeMux
	huma    huma.API
	streams streams
}

// newHandlers make the handler of everything: for callers who may do all, and
// for those who come over TCP.
func newHandlers(cfg ServerConfig, closing <-chan struct{}) (all, guarded http.Handler) {
	g := newGate(cfg)
	a := newAPI(cfg, g, closing)
	handler := withProblems(a.mux)
	return a.withDeadlines(handler), a.withDeadlines(withSafety(withPlainBody(withOwnName(cfg, g.guard(handler)))))
}

// withSafety has browsers take answers for nothing but what they say they are.
func withSafety(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Referrer-Policy", "no-referrer")
		next.ServeHTTP(w, r)
	})
}

// withPlainBody refuses bodies that are announced as too large before they are
// read, and ends the connection after those without a length. A proxy that
// believes a length which stands beside chunks sees other requests in the bytes
// that follow than this server does (RFC 9112, section 6.1).
func withPlainBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength < 0 || r.ContentLength > maxBody {
			w.Header().Set("Connection", "close")
		}
		if r.ContentLength > maxBody {
			writeProblem(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("a body may have at most %d bytes", maxBody))
			return
		}
		next.ServeHTTP(w, r)
	})
}

func newAPI(cfg ServerConfig, g *gate, closing <-chan struct{}) *api {
	mux := http.NewServeMux()
	a := &api{witness: cfg.Witness, log: cfg.Logger, now: cfg.Now, closing: closing, mux: mux}
	a.huma = humago.New(mux, humaConfig(cfg.Version, g.cookieName(true)))
	a.addHealth(cfg.Instance)
	a.addReading(cfg.Instance, cfg.Table)
	a.addBackups(cfg.Backups)
	a.addDiff(cfg.Backups)
	a.addWindows(cfg.Backups)
	a.addHistory(cfg.History)
	a.addRecoveryPoints(pastPoints{cfg.Backups, cfg.History, cfg.Instance})
	a.addHost(cfg.Place)
	a.addEvents(cfg.Instance.Events())
	a.addRequests(cfg.Requests, changes{cfg.Changes, cfg.Instance})
	a.addSources(cfg.Changes)
	a.addPromotions(promotionCalls{cfg.Promotions, cfg.Instance})
	a.addConfig(cfg.Shared, cfg.Instance)
	a.addInstances(cfg.Shared)
	a.addSchedule(cfg.Requests)
	a.addWebhooks(cfg.Hooks)
	a.addNotifications(cfg.Notifier)
	a.addRecovery(cfg.Recovery)
	a.addSightings(cfg.Sightings)
	a.addMetrics(cfg.Instance, cfg.Version)
	a.addSessions(g)
	a.addUsers(cfg.Accounts)
	if cfg.Pages != nil {
		mux.Handle("GET /{$}", cfg.Pages)
		mux.Handle("GET "+pagesPath, cfg.Pages)
	}
	a.addDocument()
	return a
}

func humaConfig(version, cookie string) huma.Config {
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title:       "Understudy",
				Version:     version,
				Description: "The admin API of an Understudy agent. Over TCP it needs the admin token or a session of the console; over the socket in the agent's data folder it needs none.",
				License:     &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
			},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", schemaName),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"token":   {Type: "http", Scheme: "bearer", Description: "UNDERSTUDY_ADMIN_TOKEN"},
					"session": {Type: "apiKey", In: "cookie", Name: cookie, Description: "What a sign-in to the console gives. Over plain HTTP the cookie's name has no prefix"},
				},
			},
		},
		Formats:       map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat: "application/json",
		Transformers:  []huma.Transformer{completeProblem},
	}
}

// schemaName names a type in the document. Types of the core carry their
// package's name, so that two of one name can stand side by side.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	path := strings.Split(t.PkgPath(), "/")
	switch pkg := path[len(path)-1]; pkg {
	case "ha", "backup":
		return strings.ToUpper(pkg[:1]) + pkg[1:] + name
	}
	return name
}

// operation describes one call. It needs the token or a session unless it is
// public.
func operation(id, method, path, summary string, errors ...int) huma.Operation {
	o := huma.Operation{
		OperationID: id, Method: method, Path: path, Summary: summary,
		Errors: errors, MaxBodyBytes: maxBody, BodyReadTimeout: bodyTimeout,
		Responses: map[string]*huma.Response{},
	}
	if !public[method+" "+path] {
		o.Security = []map[string][]string{{"token": {}}, {"session": {}}}
		o.Errors = append(o.Errors, http.StatusUnauthorized, http.StatusForbidden)
	}
	return o
}

// register adds a call that answers with JSON. What handle returns as an error
// becomes a problem document.
func register[I, O any](a *api, o huma.Operation, handle func(context.Context, *I) (*O, error)) {
	o.Responses["default"] = describe("Any other problem", content[huma.ErrorModel](a, "application/problem+json"))
	huma.Register(a.huma, o, func(ctx context.Context, in *I) (*O, error) {
		deadlines := deadlinesOf(ctx)
		deadlines.endOfBody()
		out, err := handle(ctx, in)
		deadlines.write()
		if err != nil {
			if a.witness != nil {
				a.witness.NoteRefusal(ctx, o.OperationID, err)
			}
			return nil, a.problemOf(ctx, err)
		}
		return out, nil
	})
}

// content describes a kind of answer by the type that is sent.
func content[T any](a *api, kind string) map[string]*huma.MediaType {
	t := reflect.TypeFor[T]()
	return map[string]*huma.MediaType{kind: {Schema: a.huma.OpenAPI().Components.Schemas.Schema(t, true, t.Name())}}
}

// addDocument serves the OpenAPI document. It is written when somebody asks for it:
// few do, and an agent is to start at once.
func (a *api) addDocument() {
	text := sync.OnceValue(func() []byte {
		text, err := json.Marshal(a.huma.OpenAPI())
		if err != nil {
			panic("write the OpenAPI document: " + err.Error()) // of this package's own types
		}
		return text
	})
	a.mux.HandleFunc("GET /api/v1/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(text()) // a failure means that nobody is there to tell
	})
}

// withProblems answers what the mux does not know with a problem document.
func withProblems(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		answer := &discardBody{ResponseWriter: w, status: http.StatusNotFound}
		handler.ServeHTTP(answer, r)
		writeProblem(w, answer.status, r.Method+" "+r.URL.Path+": "+http.StatusText(answer.status))
	})
}

// discardBody keeps the status and the header of an answer, and drops its text.
type discardBody struct {
	http.ResponseWriter
	status int
}

func (d *discardBody) WriteHeader(status int)      { d.status = status }
func (d *discardBody) Write(p []byte) (int, error) { return len(p), nil }

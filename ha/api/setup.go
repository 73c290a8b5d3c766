package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/client"
	"github.com/understudy-ha/understudy/ha/report"
)

// Setup is a host that is to become an instance. Errors of its methods are
// like those of Parts.
type Setup interface {
	// State is what is known already.
	State(ctx context.Context) SetupState
	// ProveBucket finds out whether a bucket is safe to use.
	ProveBucket(ctx context.Context, url string) (BucketProof, error)
	NewKey() (SetupKey, error)
	CheckKey(line string) (id string, err error)
	// Create makes the cluster, or joins it, and keeps what was entered.
	Create(ctx context.Context, req SetupRequest) (SetupDone, error)
}

// SetupState is what a host's settings say. What comes from flags or the
// environment is fixed.
type SetupState struct {
	Instance      string   `json:"instance"`
	InstanceFixed bool     `json:"instance_fixed"`
	URL           string   `json:"url"`
	URLFixed      bool     `json:"url_fixed"`
	Bucket        string   `json:"bucket"`
	BucketFixed   bool     `json:"bucket_fixed"`
	KeyID         string   `json:"key_id,omitempty" doc:"of the key that is set already"`
	KeyFixed      bool     `json:"key_fixed"`
	Problems      []string `json:"problems,omitempty" doc:"what has to be mended on the host first"`
	// Config is the YAML file, Protects what it says; nil: it cannot be used yet.
	Config   string             `json:"config"`
	Protects *report.Protection `json:"protects,omitempty"`
}

// BucketProof says whether a bucket may be used.
type BucketProof struct {
	OK      bool   `json:"ok"`
	Detail  string `json:"detail"`
	Cluster bool   `json:"cluster" doc:"there is a cluster in it"`
}

// SetupKey is a new shared key.
type SetupKey struct {
	ID  string `json:"id"`
	Key string `json:"key" doc:"keep a copy: nobody can give it again"`
}

// SetupRequest is what somebody has entered.
type SetupRequest struct {
	Role      ha.Role `json:"role" enum:"active,standby"`
	Bucket    string  `json:"bucket" minLength:"1" maxLength:"2048"`
	Instance  string  `json:"instance" minLength:"1" maxLength:"64"`
	URL       string  `json:"url,omitempty" maxLength:"2048" doc:"at which the others reach this instance"`
	Key       string  `json:"key,omitempty" maxLength:"4096" doc:"the shared key; not needed where one is set already"`
	Frequency string  `json:"frequency,omitempty" doc:"of an active: between backups"`
	User      string  `json:"user,omitempty" maxLength:"64" doc:"of an active: the first user, an admin"`
	Password  string  `json:"password,omitempty" maxLength:"1024"`
}

// SetupDone says what has been set up.
type SetupDone struct {
	Role    ha.Role  `json:"role"`
	Cluster string   `json:"cluster"`
	Notes   []string `json:"notes,omitempty"`
	// Place is what a command on this host or another one needs.
	Place Place `json:"place"`
	// Protects is what this host's YAML file says.
	Protects report.Protection `json:"protects"`
}

// SetupConfig is what a server of the set-up is given.
type SetupConfig struct {
	Setup Setup
	// Code is what a visitor must know, in capitals without dashes.
	Code string
	// Pages serves the set-up's files, "/" and below "/console/".
	Pages http.Handler
	// Server has the addresses; Parts, Token and Pages are not looked at.
	Server ServerConfig
}

// ListenSetup is Listen for a host that belongs to no cluster yet. Without a
// request for /api/v1/setup that carries the code it tells nothing.
func ListenSetup(ctx context.Context, cfg SetupConfig) (*Server, error) {
	cfg.Server = cfg.Server.complete()
	s := &Server{log: cfg.Server.Logger, closing: make(chan struct{})}
	handler := newSetup(cfg, s.closing)
	if err := s.listen(ctx, cfg.Server, handler, handler); err != nil {
		return nil, errors.Join(err, s.closeListeners())
	}
	return s, nil
}

// waits is the answer to everything that a running agent would answer.
const waits = "this agent belongs to no cluster yet and waits to be set up: open its address in a browser and enter the one-time code that it printed, or run understudy init or understudy join"

func newSetup(cfg SetupConfig, closing <-chan struct{}) http.Handler {
	mux := http.NewServeMux()
	a := &api{log: cfg.Server.Logger, now: cfg.Server.Now, closing: closing, mux: mux}
	a.huma = humago.New(mux, humaConfig(cfg.Server.Version, "none"))
	a.addSetup(cfg.Setup)
	a.addDocument()
	register(a, operation("health", http.MethodGet, "/healthz", "The process is up"), func(context.Context, *struct{}) (*healthOutput, error) {
		return &healthOutput{CacheControl: noStore, Body: Health{Status: "ok"}}, nil
	})
	mux.Handle("GET /{$}", cfg.Pages)
	mux.Handle("GET "+pagesPath, cfg.Pages)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		p := problem(http.StatusServiceUnavailable, waits)
		p.Type = client.TypeSetUp
		sendProblem(w, p)
	})
	return a.withDeadlines(withSafety(withPlainBody(withOwnName(cfg.Server, withCode(cfg, mux)))))
}

// withCode lets requests for the set-up through that carry the code.
func withCode(cfg SetupConfig, next http.Handler) http.Handler {
	want := sha256.Sum256([]byte(cfg.Code))
	wrong := newGuesses(cfg.Server.Now)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/api/v1/setup") {
			next.ServeHTTP(w, r)
			return
		}
		from := sourceOf(r, cfg.Server.Proxies)
		takeBack, wait := wrong.take(network(from), "")
		if wait > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
			writeProblem(w, http.StatusTooManyRequests, "too many wrong codes: try again in a moment")
			return
		}
		_, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		got := sha256.Sum256([]byte(strings.ToUpper(strings.NewReplacer("-", "", " ", "").Replace(given))))
		if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			cfg.Server.Logger.WarnContext(r.Context(), "somebody tried to set this agent up with a wrong code", slog.String("address", from))
			writeProblem(w, http.StatusUnauthorized, "this is not the one-time code that the agent printed when it started")
			return
		}
		takeBack()
		w.Header().Set("Cache-Control", noStore)
		next.ServeHTTP(w, r)
	})
}

type (
	setupStateOutput struct{ Body SetupState }
	setupBucketInput struct {
		Body struct {
			Bucket string `json:"bucket" minLength:"1" maxLength:"2048"`
		}
	}
	setupBucketOutput struct{ Body BucketProof }
	setupKeyOutput    struct{ Body SetupKey }
	checkKeyInput     struct {
		Body struct {
			Key string `json:"key" minLength:"1" maxLength:"4096"`
		}
	}
	checkKeyOutput struct {
		Body struct {
			ID string `json:"id"`
		}
	}
	setupInput  struct{ Body SetupRequest }
	setupOutput struct{ Body SetupDone }
)

func (a *api) addSetup(s Setup) {
	of := func(id, method, path, summary string) huma.Operation {
		o := operation(id, method, "/api/v1/setup"+path, summary, http.StatusConflict, http.StatusServiceUnavailable)
		o.Description = "With the one-time code as the bearer token."
		return o
	}
	register(a, of("get-setup", http.MethodGet, "", "What is known of this host"),
		func(ctx context.Context, _ *struct{}) (*setupStateOutput, error) {
			return &setupStateOutput{Body: s.State(ctx)}, nil
		})
	register(a, of("prove-bucket", http.MethodPost, "/bucket", "Find out whether a bucket is safe to use"),
		func(ctx context.Context, in *setupBucketInput) (*setupBucketOutput, error) {
			proof, err := s.ProveBucket(ctx, in.Body.Bucket)
			return &setupBucketOutput{Body: proof}, err
		})
	register(a, of("generate-key", http.MethodPost, "/key", "Make a new shared key; it is kept nowhere"),
		func(context.Context, *struct{}) (*setupKeyOutput, error) {
			key, err := s.NewKey()
			return &setupKeyOutput{Body: key}, err
		})
	register(a, of("check-key", http.MethodPost, "/key/check", "Find typing mistakes in a shared key, and tell its id"),
		func(_ context.Context, in *checkKeyInput) (*checkKeyOutput, error) {
			out := &checkKeyOutput{}
			var err error
			if out.Body.ID, err = s.CheckKey(in.Body.Key); err != nil {
				return nil, problem(http.StatusUnprocessableEntity, err.Error())
			}
			return out, nil
		})
	register(a, of("set-up", http.MethodPost, "", "Make the cluster with this host as its active, or join it as a standby"),
		func(ctx context.Context, in *setupInput) (*setupOutput, error) {
			done, err := s.Create(ctx, in.Body)
			done.Place = done.Place.public()
			return &setupOutput{Body: done}, err
		})
}

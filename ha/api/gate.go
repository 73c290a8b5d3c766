package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/ha/account"
)

// gate says who may do what over TCP.
type gate struct {
	instance  Instance
	accounts  Accounts
	witness   Witness
	name      string // of this instance
	url       string // of this instance, as configured
	token     [sha256.Size]byte
	hasToken  bool
	sessions  *sessions
	guesses   *guesses       // sign-ins that failed
	proxies   []netip.Prefix // that are believed where a request comes from
	unproxied sync.Once      // a proxy that is not among them was told of
	log       *slog.Logger
	origins   *http.CrossOriginProtection
}

func newGate(cfg ServerConfig) *gate {
	g := &gate{
		instance: cfg.Instance, accounts: cfg.Accounts, witness: cfg.Witness, name: cfg.Instance.Status().Instance, url: cfg.URL,
		token: sha256.Sum256([]byte(cfg.Token)), hasToken: cfg.Token != "",
		sessions: newSessions(cfg.Now),
		guesses:  newGuesses(cfg.Now),
		proxies:  cfg.Proxies, log: cfg.Logger,
		origins: http.NewCrossOriginProtection(),
	}
	if u, err := url.Parse(cfg.URL); err == nil && u.Host != "" {
		// Behind a proxy that rewrites Host the own origin looks foreign. It is
		// well formed, so adding it cannot fail.
		_ = g.origins.AddTrustedOrigin(u.Scheme + "://" + u.Host)
	}
	return g
}

// guard lets requests through that are public, or carry the token or the
// cookie of a session that may do what they ask for.
//
// Requests that a foreign page has a browser make are kept out three times.
// The cookie is SameSite=Strict, so a browser does not send it along. What
// changes something must come from this origin by the browser's own word
// (Sec-Fetch-Site, or Origin: net/http.CrossOriginProtection), which also keeps
// pages of the same site on other ports and names out. And bodies must be JSON,
// which no form can send. A token in the page would add nothing to that. The
// bearer token needs none of it: no browser sends it by itself.
func (g *gate) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := g.visitorFrom(r)
		r = r.WithContext(context.WithValue(r.Context(), visitorKey{}, v))
		switch {
		case isPublic(r):
			if err := g.origins.Check(r); err != nil && r.URL.Path == sessionsPath {
				writeProblem(w, http.StatusForbidden, "a sign-in must come from the console's own page")
				return
			}
			next.ServeHTTP(w, r)
		case r.Header.Get("Authorization") != "":
			g.byToken(w, r, next)
		case v.cookie != "":
			g.bySession(w, r, v, next)
		default:
			g.refuse(w)
		}
	})
}

func (g *gate) byToken(w http.ResponseWriter, r *http.Request, next http.Handler) {
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	got := sha256.Sum256([]byte(strings.TrimSpace(given)))
	if g.hasToken && strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(got[:], g.token[:]) == 1 {
		next.ServeHTTP(w, r.WithContext(withCaller(r.Context(), "token")))
		return
	}
	g.witness.NoteAccess(r.Context(), false, "a wrong token was given, from "+visitorOf(r.Context()).address)
	g.refuse(w)
}

func (g *gate) bySession(w http.ResponseWriter, r *http.Request, v *visitor, next http.Handler) {
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	v.session, v.user = g.sessions.find(v.cookie, g.instance.Turn(), g.accounts.User, r.Header.Get(backgroundHeader) == "")
	switch {
	case v.session == nil:
		w.Header().Set("Set-Cookie", g.cookie(v, ""))
		writeProblem(w, http.StatusUnauthorized, "the session has ended: sign in again")
		return
	case g.origins.Check(r) != nil:
		writeProblem(w, http.StatusForbidden, "what changes something must come from the console's own page")
		return
	case !reads && v.user.Role != account.Admin && r.Method+" "+r.URL.Path != "DELETE "+currentSessionPath:
		g.witness.NoteAccess(r.Context(), false, v.user.Name+" is a viewer, and was refused "+r.Method+" "+path.Clean(r.URL.Path))
		writeProblem(w, http.StatusForbidden, v.user.Name+" is a viewer, who may look at everything and change nothing")
		return
	}
	w.Header().Set("Cache-Control", noStore)
	ctx := withCaller(r.Context(), "user "+v.user.Name)
	if wantsStream(r.Header.Get("Accept")) && !strings.HasPrefix(r.URL.Path, "/api/v1/promotions/") {
		// A promotion is shown to its end, though it ends the session.
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		go g.watch(ctx, cancel, v)
	}
	next.ServeHTTP(w, r.WithContext(ctx))
}

// backgroundHeader marks requests that the page makes by itself, which do not
// keep a session alive.
const backgroundHeader = "Understudy-Background"

// watch ends a stream with its session.
func (g *gate) watch(ctx context.Context, cancel context.CancelFunc, v *visitor) {
	tick := time.NewTicker(keepAlive)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-v.session.ended:
			cancel()
			return
		case <-tick.C:
			if s, _ := g.sessions.find(v.cookie, g.instance.Turn(), g.accounts.User, false); s == nil {
				cancel()
				return
			}
		}
	}
}

// refuse says what would let the request through.
func (g *gate) refuse(w http.ResponseWriter) {
	if users, err := g.accounts.Users(); !g.hasToken && err == nil && len(users) == 0 {
		writeProblem(w, http.StatusForbidden, "no admin token is configured and there is no user, so this address serves health, /leader, /metrics and signed notifications only: set UNDERSTUDY_ADMIN_TOKEN or UNDERSTUDY_ADMIN_TOKEN_FILE, add a user (understudy users add, on the active's host), or use the command line on the instance's host")
		return
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="understudy"`)
	writeProblem(w, http.StatusUnauthorized, "this needs a session (sign in to the console) or the admin token (Authorization: Bearer …)")
}

// isPublic reports whether anybody may make a request: nothing of it changes
// anything but by a valid signature or password, nor tells more than a load
// balancer or a monitor needs. The console's pages are files that tell nothing.
func isPublic(r *http.Request) bool {
	if public[r.Method+" "+r.URL.Path] {
		return true
	}
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) &&
		(r.URL.Path == "/" || strings.HasPrefix(r.URL.Path, pagesPath) && path.Clean(r.URL.Path) == r.URL.Path)
}

// pagesPath is where the console's files are.
const pagesPath = "/console/"

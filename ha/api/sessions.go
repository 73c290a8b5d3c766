package api

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/understudy-ha/understudy/ha/account"
)

const (
	sessionsPath       = "/api/v1/sessions"
	currentSessionPath = sessionsPath + "/current"
)

// Credentials are what somebody signs in with.
type Credentials struct {
	Name     string `json:"name" minLength:"1" maxLength:"64"`
	Password string `json:"password" minLength:"1" maxLength:"1024"`
}

// Session says who is signed in.
type Session struct {
	User    string       `json:"user" doc:"name of the user; of another caller what it is: \"token\", \"socket (uid N)\""`
	Role    account.Role `json:"role" enum:"admin,viewer"`
	Expires *time.Time   `json:"expires,omitempty" doc:"the session ends then at the latest"`
}

type signInInput struct{ Body Credentials }

type signInOutput struct {
	SetCookie    string `header:"Set-Cookie"`
	CacheControl string `header:"Cache-Control"`
	Body         Session
}

type signOutOutput struct {
	SetCookie string `header:"Set-Cookie"`
}

type sessionOutput struct{ Body Session }

func (a *api) addSessions(g *gate) {
	o := operation("sign-in", http.MethodPost, sessionsPath, "Sign in to the console: the answer's cookie is the session",
		http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests, http.StatusServiceUnavailable)
	o.Description = "A session ends after twelve hours, after one hour without a request, when the user is removed or gets another password, and when the instance changes its role. An address that failed too often waits, and so does a name at one address: see Retry-After."
	o.DefaultStatus = http.StatusCreated
	register(a, o, g.signIn)
	register(a, operation("get-session", http.MethodGet, currentSessionPath, "Who is signed in"), whoAsks)
	register(a, operation("sign-out", http.MethodDelete, currentSessionPath, "Sign out"),
		func(ctx context.Context, _ *struct{}) (*signOutOutput, error) {
			v := visitorOf(ctx)
			if v.session == nil {
				return &signOutOutput{}, nil
			}
			g.sessions.end(v.cookie)
			return &signOutOutput{SetCookie: g.cookie(v, "")}, nil
		})
}

func (g *gate) signIn(ctx context.Context, in *signInInput) (*signInOutput, error) {
	v := visitorOf(ctx)
	if users, err := g.accounts.Users(); err == nil && len(users) == 0 {
		return nil, problem(http.StatusForbidden, "nobody can sign in yet: add a user with understudy users add NAME, on the active's host")
	}
	// It is counted before it is looked at, so that attempts at the same time
	// count too.
	takeBack, wait := g.guesses.take(v.address, in.Body.Name)
	if wait > 0 {
		return nil, tooMany(wait)
	}
	turn := g.instance.Turn()
	u, err := g.accounts.SignIn(ctx, in.Body.Name, in.Body.Password)
	if !errors.Is(err, account.ErrSignIn) { // it was no guess
		takeBack()
	}
	switch {
	case errors.Is(err, account.ErrSignIn):
		// Not the name: it may be a password.
		g.witness.NoteAccess(ctx, false, "a sign-in failed, from "+v.address)
		return nil, problem(http.StatusUnauthorized, err.Error())
	case errors.Is(err, account.ErrBusy):
		return nil, tooMany(time.Second)
	case err != nil:
		return nil, err
	}
	g.witness.NoteAccess(withCaller(ctx, "user "+u.Name), true, u.Name+" signed in, from "+v.address)
	token, made := g.sessions.begin(u, turn)
	expires := made.began.Add(sessionLife).UTC()
	return &signInOutput{
		SetCookie: g.cookie(v, token), CacheControl: noStore,
		Body: Session{User: u.Name, Role: u.Role, Expires: &expires},
	}, nil
}

// tooMany asks to wait.
func tooMany(wait time.Duration) error {
	seconds := int(math.Ceil(wait.Seconds()))
	return huma.ErrorWithHeaders(
		problem(http.StatusTooManyRequests, fmt.Sprintf("too many sign-ins have failed: try again in %d s", seconds)),
		http.Header{"Retry-After": {strconv.Itoa(seconds)}})
}

// whoAsks says who makes the request.
func whoAsks(ctx context.Context, _ *struct{}) (*sessionOutput, error) {
	v := visitorOf(ctx)
	if v.session == nil {
		return &sessionOutput{Body: Session{User: caller(ctx), Role: account.Admin}}, nil
	}
	expires := v.session.began.Add(sessionLife).UTC()
	return &sessionOutput{Body: Session{User: v.user.Name, Role: v.user.Role, Expires: &expires}}, nil
}

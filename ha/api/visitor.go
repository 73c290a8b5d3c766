package api

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/understudy-ha/understudy/ha/account"
)

// visitor is what a request tells of whoever makes it.
type visitor struct {
	address string // that sign-ins are counted by; "" over the socket
	secure  bool   // the browser reached this server through TLS
	cookie  string // value of the session cookie
	session *session
	user    account.User // of the session
}

type visitorKey struct{}

func visitorOf(ctx context.Context) *visitor {
	if v, ok := ctx.Value(visitorKey{}).(*visitor); ok {
		return v
	}
	return &visitor{}
}

// visitorFrom reads a request that came over TCP.
func (g *gate) visitorFrom(r *http.Request) *visitor {
	v := &visitor{address: network(g.source(r))}
	// A header that says too much costs a visitor the session, no more: a
	// browser keeps no secure cookie that came over plain HTTP.
	v.secure = r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
	if u, err := url.Parse(g.url); err == nil && u.Scheme == "https" && strings.EqualFold(u.Host, r.Host) {
		v.secure = true
	}
	if c, err := r.Cookie(g.cookieName(v.secure)); err == nil {
		v.cookie = c.Value
	}
	return v
}

// cookieName tells the sessions of several agents on one host apart: cookies
// know no ports. With the prefix a browser takes the cookie over TLS alone, and
// from no other host.
func (g *gate) cookieName(secure bool) string {
	name := "understudy-" + g.name
	if secure {
		name = "__Host-" + name
	}
	return name
}

// cookie is the session cookie with a value; "" removes it.
func (g *gate) cookie(v *visitor, value string) string {
	c := http.Cookie{
		Name: g.cookieName(v.secure), Value: value, Path: "/", Secure: v.secure, HttpOnly: true,
		SameSite: http.SameSiteStrictMode, MaxAge: int(sessionLife.Seconds()),
	}
	if value == "" {
		c.MaxAge = -1
	}
	return c.String()
}

package api

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

const wrongPassword = `{"name":"alice","password":"wrong"}`

// TestGuessesElsewhereKeepNobodyOut: whoever knows the owner's name, and has any
// number of addresses, costs the owner nothing at another one.
func TestGuessesElsewhereKeepNobodyOut(t *testing.T) {
	v := newVisit(t, "")
	for i := range 4 {
		v.address = fmt.Sprintf("198.51.100.%d:1", i)
		for range 2 * nameBurst {
			v.do("POST", "/api/v1/sessions", wrongPassword)
		}
	}
	v.address = "192.0.2.1:999"
	v.signIn("alice")
}

// TestAFloodOfAddressesKeepsNobodyOut: more of them than are remembered.
func TestAFloodOfAddressesKeepsNobodyOut(t *testing.T) {
	g := newGuesses(func() time.Time { return then })
	for i := range maxThrottled + 1000 {
		for range 2 {
			g.take(network(fmt.Sprintf("2001:db8:%x:%x::1", i/50, i%50)), "alice")
		}
	}
	for range nameBurst {
		if _, wait := g.take("192.0.2.1", "alice"); wait > 0 {
			t.Fatalf("the owner waits %v", wait)
		}
	}
	for _, th := range []*throttle{g.sites, g.addresses, g.names} {
		if len(th.owed) > maxThrottled {
			t.Errorf("%d keys are remembered", len(th.owed))
		}
	}
}

// TestAnAddressIsCountedBeforeItsNames: one address cannot guess on with many
// names, and its own refusals do not count.
func TestAnAddressIsCountedBeforeItsNames(t *testing.T) {
	now := then
	g := newGuesses(func() time.Time { return now })
	for range nameBurst {
		if _, wait := g.take("192.0.2.1", "alice"); wait > 0 {
			t.Fatalf("wait %v", wait)
		}
	}
	for range 100 { // refused, so they cost nothing
		if _, wait := g.take("192.0.2.1", "alice"); wait == 0 {
			t.Fatal("a ninth guess is let in")
		}
	}
	for i := range addressBurst - nameBurst {
		if _, wait := g.take("192.0.2.1", fmt.Sprint(i)); wait > 0 {
			t.Fatalf("guess %d for another name waits %v", i, wait)
		}
	}
	if _, wait := g.take("192.0.2.1", "other"); wait == 0 {
		t.Error("an address guesses on with other names")
	}
	takeBack, _ := g.take("192.0.2.2", "alice")
	takeBack()
	if owed := g.addresses.owed["192.0.2.2"]; owed.After(now) {
		t.Error("a success counts as a guess")
	}
}

// TestManyNetworksOfOneSiteAreOneGuesser: an IPv6 customer has thousands of /64.
func TestManyNetworksOfOneSiteAreOneGuesser(t *testing.T) {
	g := newGuesses(func() time.Time { return then })
	allowed := 0
	for i := range 4 * siteBurst {
		if _, wait := g.take(network(fmt.Sprintf("2001:db8:1:%x::1", i)), "alice"); wait == 0 {
			allowed++
		}
	}
	if allowed != siteBurst {
		t.Errorf("%d guesses from one /48", allowed)
	}
	if _, wait := g.take(network("2001:db8:2::1"), "alice"); wait > 0 {
		t.Errorf("another site waits %v", wait)
	}
}

func TestWhereARequestComesFrom(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("10.0.0.0/8")}
	for _, c := range []struct {
		remote string
		heard  []string
		want   string
	}{
		{"192.0.2.1:5", nil, "192.0.2.1"},
		{"192.0.2.1:5", []string{"203.0.113.9"}, "192.0.2.1"}, // anybody can write the header
		{"127.0.0.1:5", nil, "127.0.0.1"},
		{"127.0.0.1:5", []string{"203.0.113.9"}, "203.0.113.9"},
		{"[::ffff:127.0.0.1]:5", []string{"203.0.113.9:4711"}, "203.0.113.9"},
		{"127.0.0.1:5", []string{"6.6.6.6, 203.0.113.9, 10.1.2.3"}, "203.0.113.9"}, // the first is made up
		{"127.0.0.1:5", []string{"6.6.6.6", "203.0.113.9"}, "203.0.113.9"},
		{"127.0.0.1:5", []string{"unknown"}, "127.0.0.1"},
		{"127.0.0.1:5", []string{""}, "127.0.0.1"},
		{"127.0.0.1:5", []string{"[2001:db8::1]:80"}, "2001:db8::1"},
	} {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
		r.RemoteAddr = c.remote
		for _, h := range c.heard {
			r.Header.Add(forwardedFor, h)
		}
		if got := sourceOf(r, proxies); got != c.want {
			t.Errorf("%s %q: %s, want %s", c.remote, c.heard, got, c.want)
		}
	}
}

func TestVisitorsBehindATrustedProxyAreToldApart(t *testing.T) {
	var logged strings.Builder
	for _, trusted := range []bool{true, false} {
		logged.Reset()
		cfg := ServerConfig{Logger: slog.New(slog.NewTextHandler(&logged, nil))}
		if trusted {
			cfg.Proxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}
		}
		v := newVisitWith(t, cfg)
		for range 2 * addressBurst {
			v.do("POST", "/api/v1/sessions", wrongPassword, forwardedFor, "198.51.100.1")
		}
		got := v.do("POST", "/api/v1/sessions", `{"name":"alice","password":"correct"}`, forwardedFor, "198.51.100.2")
		if want := map[bool]int{true: http.StatusCreated, false: http.StatusTooManyRequests}[trusted]; got.StatusCode != want {
			t.Errorf("trusted %t: %d, want %d", trusted, got.StatusCode, want)
		}
		if warned := strings.Count(logged.String(), "UNDERSTUDY_TRUSTED_PROXIES"); warned != map[bool]int{true: 0, false: 1}[trusted] {
			t.Errorf("trusted %t: warned %d times", trusted, warned)
		}
	}
}

// TestWrongCodesElsewhereKeepNobodyOut: nor can a stranger keep the owner from
// setting a host up.
func TestWrongCodesElsewhereKeepNobodyOut(t *testing.T) {
	handler := newSetup(SetupConfig{
		Setup: noSetup{}, Code: "RIGHT", Pages: http.NotFoundHandler(),
		Server: ServerConfig{Now: func() time.Time { return then }, Logger: slog.New(slog.DiscardHandler)},
	}, make(chan struct{}))
	enter := func(address, code string) int {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/api/v1/setup", nil)
		r.RemoteAddr = address
		r.Header.Set("Authorization", "Bearer "+code)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w.Code
	}
	for range 2 * addressBurst {
		enter("198.51.100.1:1", "WRONG")
	}
	if got := enter("198.51.100.1:1", "RIGHT"); got != http.StatusTooManyRequests {
		t.Errorf("whoever guessed: %d", got)
	}
	if got := enter("192.0.2.1:1", "RI-GHT"); got != http.StatusOK {
		t.Errorf("the owner, elsewhere: %d", got)
	}
}

// noSetup is a host without anything.
type noSetup struct{ Setup }

func (noSetup) State(context.Context) SetupState { return SetupState{} }

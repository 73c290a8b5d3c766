package api

import (
	"net/netip"
	"time"
)

// guesses slows down whoever guesses passwords or codes: by address first, and
// then by name at this address. A name alone is never counted: whoever knows it
// could keep its owner out, from anywhere. What many addresses can do together
// is bounded by how many passwords are checked at once.
type guesses struct {
	sites     *throttle // by what one customer of a provider may have: of IPv6 a /48
	addresses *throttle
	names     *throttle // at one address
}

const (
	siteBurst, siteEvery       = 200, time.Second
	addressBurst, addressEvery = 20, 5 * time.Second
	nameBurst, nameEvery       = 8, 10 * time.Second
)

func newGuesses(now func() time.Time) *guesses {
	return &guesses{
		sites:     newThrottle(now, siteBurst, siteEvery),
		addresses: newThrottle(now, addressBurst, addressEvery),
		names:     newThrottle(now, nameBurst, nameEvery),
	}
}

// take counts an attempt as failed, and gives what takes that back; or it says
// how long to wait, and counts nothing. Without a name it counts the address
// alone.
func (g *guesses) take(address, name string) (takeBack func(), wait time.Duration) {
	type counted struct {
		by  *throttle
		key string
	}
	steps := []counted{{g.addresses, address}}
	if site := siteOf(address); site != address {
		steps = []counted{{g.sites, site}, {g.addresses, address}}
	}
	if name != "" {
		steps = append(steps, counted{g.names, name + " " + address})
	}
	takeBack = func() {}
	for _, s := range steps {
		if wait := s.by.take(s.key); wait > 0 {
			takeBack()
			return nil, wait
		}
		before := takeBack
		takeBack = func() { s.by.forgive(s.key); before() }
	}
	return takeBack, 0
}

// siteOf is the /48 of an IPv6 network; of anything else the same.
func siteOf(address string) string {
	p, err := netip.ParsePrefix(address)
	if err != nil {
		return address
	}
	return masked(p.Addr().String(), 48)
}

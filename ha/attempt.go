package ha

import (
	"slices"
	"strconv"
	"strings"
)

// Attempts are the first so many writes of one change of the head by one process:
// their nonces have the prefix in common, and are numbered. A journal holds any
// number of them in the room of one.
type Attempts struct {
	Prefix string `json:"prefix"`
	Count  uint64 `json:"count"`
}

// maxNamed is how many attempts a journal names one by one. What a copy of a
// running process sends may have the prefix and the number of an attempt of the
// original's, and not its nonce: so the latest are told apart from those.
const maxNamed = 16

// next is the nonce of the next attempt.
func (a *Attempts) next(random func() string) string {
	if a.Prefix == "" {
		a.Prefix = random()
	}
	a.Count++
	return a.Prefix + "-" + strconv.FormatUint(a.Count, 10) + "-" + random()
}

// has reports whether a nonce is that of one of the attempts.
func (a Attempts) has(nonce string) bool {
	of, ok := attemptOf(nonce)
	return ok && of.Prefix == a.Prefix && of.Count <= a.Count
}

// attemptOf takes a nonce apart; false for one of an earlier version's.
func attemptOf(nonce string) (Attempts, bool) {
	parts := strings.Split(nonce, "-")
	if len(parts) != 3 {
		return Attempts{}, false
	}
	n, err := strconv.ParseUint(parts[1], 10, 64)
	return Attempts{Prefix: parts[0], Count: n}, err == nil && n > 0
}

// has reports whether a nonce is that of an attempt of this write.
func (p *Pending) has(nonce string) bool {
	return slices.Contains(p.Nonces, nonce) || slices.ContainsFunc(p.Earlier, func(a Attempts) bool { return a.has(nonce) })
}

// add notes an attempt. Of too many the oldest is named no longer, but counted.
func (p *Pending) add(nonce string) {
	p.Nonces = append(slices.Clone(p.Nonces), nonce)
	if len(p.Nonces) <= maxNamed {
		return
	}
	for i, n := range p.Nonces {
		oldest, ok := attemptOf(n)
		if !ok {
			continue
		}
		p.Nonces = slices.Delete(p.Nonces, i, i+1)
		if at := slices.IndexFunc(p.Earlier, func(a Attempts) bool { return a.Prefix == oldest.Prefix }); at >= 0 {
			p.Earlier[at].Count = max(p.Earlier[at].Count, oldest.Count)
		} else {
			p.Earlier = append(p.Earlier, oldest)
		}
		return
	}
}

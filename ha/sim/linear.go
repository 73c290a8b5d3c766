package sim

import (
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
)

// history is what the clients of the store saw of its two registers, the head
// and the lease: when each request was sent, and what was heard.
type history struct {
	s      *store
	now    int64 // grows with every call and every answer
	keys   map[string][]*operation
	older  bool            // what is heard now is an older version, which no store shows
	beaten map[string]bool // nonces of writes that lost to themselves: their client heard nothing true
}

type operation struct {
	client int
	call   call
	at     int64
	done   int64 // 0: never heard of
	heard  heard
}

// call is what a client asked for: a read, or a write under a condition.
type call struct {
	write bool
	put   bool // whatever was there
	cond  blobstore.Condition
	nonce string
}

// heard is what a client heard.
type heard struct {
	outcome ha.Outcome
	nonce   string // of the version read; "": there is none
}

// record notes what a process asks of the registers, and what it hears.
func (l *history) record(p *Process, next Runner) Runner {
	return func(e ha.Effect, done func(ha.Done)) {
		var c call
		var key string
		var unless blobstore.Token
		switch e := e.(type) {
		case ha.Read:
			key, unless = e.Key, e.IfChanged
		case ha.Write:
			key, c = e.Key, call{write: true, cond: e.Cond, nonce: nonceOf(e.Object)}
		}
		if key != ha.HeadKey && key != ha.LeaseKey || p.h.astray {
			next(e, done)
			return
		}
		l.now++
		op := &operation{client: p.serial, call: c, at: l.now}
		l.keys[key] = append(l.keys[key], op)
		next(e, func(d ha.Done) {
			l.end(op, d, unless)
			done(d)
		})
	}
}

func (l *history) end(op *operation, d ha.Done, unless blobstore.Token) {
	if l.older || d.Outcome == ha.Unknown || d.Outcome == ha.Failed || d.Outcome == ha.Unverified || l.beaten[op.call.nonce] {
		return
	}
	l.now++
	op.done, op.heard = l.now, heard{outcome: d.Outcome}
	switch {
	case op.call.write:
	case d.Outcome == ha.NotModified:
		op.heard.nonce = l.s.nonces[unless]
	case d.Outcome == ha.OK:
		op.heard.nonce = l.s.nonces[d.Token]
	}
}

// put notes that somebody has put a register back to an earlier version, in place of
// the one that a token stands for.
func (l *history) put(key string, before blobstore.Token, nonce string) {
	l.now += 2
	c := call{write: true, put: true, nonce: nonce}
	if before != "" {
		c.cond = blobstore.IfMatch(before)
	}
	l.keys[key] = append(l.keys[key], &operation{client: -1, call: c, at: l.now - 1, done: l.now})
}

// linearizable reports whether a register that is only ever compared and
// swapped can have shown the clients what they saw. A write that was never
// heard of takes effect at any time after it was sent, or never.
func (l *history) linearizable(key, initial string) bool {
	var ops []porcupine.Operation
	effective := l.effective(l.keys[key])
	for _, op := range l.keys[key] {
		if op.done == 0 && !effective[op] {
			continue
		}
		end := op.done
		if end == 0 {
			end = l.now + 1
		}
		ops = append(ops, porcupine.Operation{ClientId: op.client, Input: op, Call: op.at, Output: op.heard, Return: end})
	}
	model := porcupine.Model{
		Init: func() any { return initial },
		Step: func(now, in, out any) (bool, any) { return l.step(now.(string), in.(*operation), out.(heard)) },
	}
	return porcupine.CheckOperationsTimeout(model, ops, time.Minute) == porcupine.Ok
}

// effective tells which writes that were never heard of must have happened:
// those whose version somebody saw or replaced, and one for each version that
// nobody else can have replaced before a write lost against it. The others may
// as well not have happened: nobody could tell.
func (l *history) effective(ops []*operation) map[*operation]bool {
	seen, replaced := map[string]bool{}, map[blobstore.Token]bool{}
	for _, op := range ops {
		seen[op.heard.nonce] = true
		seen[l.s.nonces[op.call.cond.Match()]] = true
	}
	effective := map[*operation]bool{}
	for _, op := range ops {
		if op.call.write && (op.call.put && op.call.cond.Match() != "" || !op.call.put && seen[op.call.nonce] || op.done != 0 && op.heard.outcome == ha.OK && !op.call.put) {
			replaced[op.call.cond.Match()] = true
			effective[op] = true
		}
	}
	lost := map[blobstore.Token]bool{}
	for _, op := range ops {
		lost[op.call.cond.Match()] = lost[op.call.cond.Match()] || op.heard.outcome == ha.Lost
	}
	for _, op := range ops { // the earliest explains the most
		if token := op.call.cond.Match(); op.call.write && op.done == 0 && lost[token] && !replaced[token] && (token == "" || l.s.nonces[token] != "") {
			replaced[token], effective[op] = true, true
		}
	}
	return effective
}

// step is the register: its value is the nonce of the version that it holds.
func (l *history) step(now string, op *operation, out heard) (bool, any) {
	if !op.call.write {
		return out.nonce == now, now
	}
	if op.call.put {
		return true, op.call.nonce
	}
	holds := now == "" // as IfAbsent demands
	if token := op.call.cond.Match(); token != "" {
		holds = now != "" && now == l.s.nonces[token] // a replica's token may be another object's
	}
	if out.outcome == ha.Lost {
		return !holds, now
	}
	return holds, op.call.nonce
}

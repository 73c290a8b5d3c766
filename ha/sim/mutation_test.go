package sim

import (
	"cmp"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
)

// mutation takes one guard of the protocol away, by lying to the core, and
// says which promise must be seen to break.
type mutation struct {
	guard   string
	broken  string // how
	catches Invariant

	wrap    func(p *Process, next Runner) Runner
	clock   func(h *Host, now ha.Now) ha.Now
	fencing ha.FencingMode
	faults  Faults
	streams *StreamFaults
}

// mutations is the table of guards. An unknown outcome that is told as a plain
// failure is not in it: the core looks at the head after that too, and the
// simulated world does it all the time (fate, "412 to oneself").
var mutations = []mutation{
	{
		guard: "the compare-and-swap of the head", broken: "the store ignores the condition of the write", catches: History,
		wrap:   writes(ha.HeadKey, func(p *Process, e ha.Write) ha.Write { e.Cond = blobstore.Always; return e }),
		faults: Faults{Trouble: Weights{Stop: 1, Suspend: 1}, Every: 20 * time.Second},
	},
	{
		guard: "the resolution of unknown outcomes", broken: "an unknown outcome is told as success", catches: Durability,
		wrap:   outcomes(ha.HeadKey, unknownIsDone),
		faults: Faults{Request: 0.3},
	},
	{
		guard: "the resolution of unknown outcomes after a restart", broken: "the journal forgets what is pending", catches: Promotion,
		wrap:   journal(func(j *ha.Journal) { j.Pending = nil }),
		faults: Faults{Request: 0.3, Crash: 0.01},
	},
	{
		guard: "the claim at start", broken: "a process's first write of the head is told as done, and is not", catches: Claim,
		wrap:   falseClaim,
		faults: Faults{Trouble: Weights{Crash: 1}, Every: 30 * time.Second},
	},
	{
		guard: "the pinned commit", broken: "reads before the commit show the newest backup of the time when it was pinned", catches: Chain,
		wrap:   pinnedReads,
		faults: Faults{Request: 0.3},
	},
	{
		guard: "the look at both clocks after a sleep", broken: "the boot-time clock stands still in suspend", catches: Fencing,
		clock:   func(_ *Host, now ha.Now) ha.Now { now.Boot = now.Mono; return now },
		fencing: ha.Strict,
		faults:  Faults{Trouble: Weights{Cut: 1, Suspend: 1}, Every: 15 * time.Second},
	},
	{
		guard: "the fencing margin", broken: "one host's clocks run at less than half their rate", catches: Fencing,
		clock: func(h *Host, now ha.Now) ha.Now {
			if h.id == "host-a" {
				now.Mono, now.Boot = now.Mono*2/5, now.Boot*2/5
			}
			return now
		},
		fencing: ha.Strict,
		faults:  Faults{Trouble: Weights{Cut: 1}, Every: 30 * time.Second},
	},
	{
		guard: "the age of the last renewal of the process before", broken: "a process that starts takes it for one of just now", catches: Fencing,
		wrap:    renewedNow,
		fencing: ha.Strict,
		faults:  Faults{Orphan: 1, Trouble: Weights{Cut: 2, Crash: 3}, Every: 10 * time.Second},
	},
	{
		guard: "the bounds of each fencing that may be in force", broken: "the head says strict, and the active that has sent it does not know", catches: Fencing,
		wrap:    writes(ha.HeadKey, saysStrict),
		fencing: ha.Available,
		faults:  Faults{Trouble: Weights{Cut: 1}, Every: 30 * time.Second},
	},
	{
		guard: "the stop that waits for no journal", broken: "it waits for the disk of the data folder", catches: Fencing,
		wrap:    stopAfterJournal,
		fencing: ha.Strict,
		faults:  Faults{Trouble: Weights{Hang: 1}, Every: 20 * time.Second},
	},
	{
		guard: "the wait for the journal", broken: "a journal is told as written before it is", catches: Promotion,
		wrap:   saidSaved,
		faults: Faults{Trouble: Weights{Hang: 2, Crash: 2}, Every: 15 * time.Second},
	},
	{
		guard: "the wait for the old active under strict fencing", broken: "the store answers with an acknowledgement that nobody gave", catches: Fencing,
		wrap:    falseAck,
		fencing: ha.Strict,
		faults:  Faults{Trouble: Weights{Cut: 1}, Every: 30 * time.Second},
	},
	{
		guard: "the word in the head that nothing runs", broken: "reads before the commit show a farewell that nobody gave", catches: Fencing,
		wrap:    falseFarewell,
		fencing: ha.Strict,
		faults:  Faults{Trouble: Weights{Cut: 1, Quit: 1}, Every: 30 * time.Second},
	},
	{
		guard: "a salvage record for each salvage backup", broken: "all salvage records of an epoch have one key, and the first one wins", catches: Durability,
		wrap:   oneSalvage,
		faults: Faults{Trouble: Weights{Cut: 2, Copy: 2, Crash: 1}, Every: 20 * time.Second},
	},
	{
		guard: "the stopped application during a handover", broken: "the demote hook says that it has stopped, and has not", catches: Handover,
		wrap: falseStop,
	},
	{
		guard: "the look for a source's volume", broken: "what is left where it was mounted is backed up", catches: Handover,
		wrap:   unmounted,
		faults: Faults{Trouble: Weights{Vanish: 1}, Every: 20 * time.Second},
	},
	{
		guard: "the seal of the stage", broken: "whatever is staged passes for the chosen backup", catches: Restore,
		wrap:   unsealed,
		faults: Faults{Work: 0.1},
	},
	{
		guard: "the demote hook before the swap", broken: "during a promotion it is told to have run, and has not", catches: Restore,
		wrap:   unstopped,
		faults: Faults{Trouble: Weights{Foreign: 1}, Every: 30 * time.Second},
	},
	{
		guard: "the discard before the next stage", broken: "a discard is told as done, and is not", catches: Restore,
		wrap: undiscarded,
	},
	{
		guard: "the comparison of the stage before the swap", broken: "what is staged of the chosen backup passes, whatever has become of it", catches: Restore,
		wrap:   uninspected,
		faults: Faults{Trouble: Weights{Harm: 1}, Every: 20 * time.Second},
	},
	{
		guard: "that nobody sees a newer head when a cluster goes on from an older one", broken: "the survey says that everybody sees the older head", catches: History,
		wrap:   falseSurvey,
		faults: Faults{Trouble: Weights{Astray: 1}, Every: 30 * time.Second},
	},
	{
		guard: "an epoch above every one that was seen, when a cluster goes on", broken: "the survey says that nobody has seen a newer head", catches: History,
		wrap:   forgetfulSurvey,
		faults: Faults{Trouble: Weights{PutBack: 1, Crash: 1}, Every: 20 * time.Second},
	},
	{
		guard: "the comparison of the head with the journal", broken: "a process that starts forgets what was seen of the head", catches: Claim,
		wrap:   forgetful,
		faults: Faults{Trouble: Weights{Astray: 2, Crash: 3}, Every: 15 * time.Second},
	},
	{
		guard: "the look who has a source open before a swap", broken: "nobody looks", catches: Restore,
		wrap:   blind,
		faults: Faults{Trouble: Weights{Foreign: 1}, Every: 5 * time.Second},
	},
	{
		guard: "the renewal that refutes the word that a host is off", broken: "reads before the commit show the rev of the time when the word was given", catches: Promotion,
		wrap:   pinnedRev,
		faults: Faults{Request: 0.1},
	},
	{
		guard: "the record of the word that a host is off", broken: "the marker does not say it", catches: Promotion,
		wrap:   wordless,
		faults: Faults{Trouble: Weights{Crash: 1, Reboot: 1}, Every: 30 * time.Second},
	},
	{
		guard: "the salvage backup of one that steps down", broken: "it is told that there is nothing to salvage", catches: Durability,
		wrap:   unsalvaged,
		faults: Faults{Trouble: Weights{Cut: 1}, Every: 30 * time.Second},
	},
	{
		guard: "that an instance keeps what it has where the marker of an epoch is gone", broken: "the marker says that another instance was the active", catches: Durability,
		wrap:   foreignMarker,
		faults: Faults{Trouble: Weights{Delete: 2, Revert: 2, Stop: 1, Cut: 1}, Every: 10 * time.Second},
	},
	{
		guard: "the look for a backup that waited to be named", broken: "it is told to be in the bucket", catches: Chain,
		wrap:   alwaysFound,
		faults: Faults{Request: 0.3, Trouble: Weights{PutBack: 2, Stop: 2, Cut: 1, Hang: 1}, Every: 8 * time.Second, Operate: 14 * time.Second},
	},
	{
		guard: "the wait for who led on the older head when a cluster goes on", broken: "the head does not name that one", catches: Fencing,
		wrap:    writes(ha.HeadKey, withoutHolder),
		fencing: ha.Strict,
		faults:  Faults{Trouble: Weights{PutBack: 2, Cut: 4, Deaf: 1, Stop: 1, Crash: 1}, Every: 15 * time.Second, Operate: 8 * time.Second},
	},
	{
		guard: "the second look at what a refused process kept", broken: "it has kept everything, says a later one", catches: Durability,
		wrap:   keptAlready,
		faults: Faults{Trouble: Weights{Crash: 2, Reboot: 1, Cut: 1, Stop: 1, Copy: 2, Revert: 1}, Every: 4 * time.Second, Operate: 13 * time.Second, Rash: true},
	},
	{
		guard: "the verification before the swap", broken: "the restore does not compare with the manifest", catches: Restore,
		wrap:   unverified,
		faults: Faults{Corrupt: 0.3},
	},
}

// mutationSeeds is how many seeds a mutation may survive.
const mutationSeeds = 200

// TestEveryGuardIsNeeded checks the checker: without any one guard the
// simulator notices within a few seeds, and with it the very same runs pass.
func TestEveryGuardIsNeeded(t *testing.T) {
	for _, m := range mutations {
		t.Run(m.guard, func(t *testing.T) {
			t.Parallel()
			for s := range uint64(mutationSeeds) {
				o := Options{Seed: s + 1, Hosts: 3, Fencing: m.fencing, Faults: &m.faults, Streams: m.streams, Duration: 10 * time.Minute}
				o.Faults.Operate = cmp.Or(m.faults.Operate, 30*time.Second)
				if err := New(o).Run(); err != nil {
					t.Fatalf("with its guards: %v", err)
				}
				o.Wrap, o.Clock = m.wrap, m.clock
				err := New(o).Run()
				if v := (*Violation)(nil); errors.As(err, &v) && v.Invariant == m.catches {
					t.Logf("%s: %v", m.broken, err)
					return
				}
			}
			t.Errorf("%s: not noticed as a breach of %q within %d seeds", m.broken, m.catches, mutationSeeds)
		})
	}
}

// writes changes what is written to key.
func writes(key string, change func(*Process, ha.Write) ha.Write) func(*Process, Runner) Runner {
	return func(p *Process, next Runner) Runner {
		return func(e ha.Effect, done func(ha.Done)) {
			if w, ok := e.(ha.Write); ok && w.Key == key {
				e = change(p, w)
			}
			next(e, done)
		}
	}
}

// outcomes changes what is heard of writes of key.
func outcomes(key string, change func(*Process, ha.Done) ha.Done) func(*Process, Runner) Runner {
	return func(p *Process, next Runner) Runner {
		return func(e ha.Effect, done func(ha.Done)) {
			if w, ok := e.(ha.Write); ok && w.Key == key {
				next(e, func(d ha.Done) { done(change(p, d)) })
				return
			}
			next(e, done)
		}
	}
}

func unknownIsDone(p *Process, d ha.Done) ha.Done {
	if d.Outcome == ha.Unknown {
		d = ha.Done{ID: d.ID, Token: blobstore.Token(fmt.Sprint("made-up-", p.h.w.now))}
	}
	return d
}

// journal changes what is saved.
func journal(change func(*ha.Journal)) func(*Process, Runner) Runner {
	return func(_ *Process, next Runner) Runner {
		return func(e ha.Effect, done func(ha.Done)) {
			if s, ok := e.(ha.Save); ok {
				change(&s.Journal)
				e = s
			}
			next(e, done)
		}
	}
}

// answers answers an effect without carrying it out.
func answers(p *Process, done func(ha.Done), d ha.Done) {
	p.h.after(100*time.Millisecond, func() { done(d) })
}

func falseClaim(p *Process, next Runner) Runner {
	claimed := false
	return func(e ha.Effect, done func(ha.Done)) {
		if w, ok := e.(ha.Write); ok && w.Key == ha.HeadKey && !claimed {
			claimed = true
			answers(p, done, ha.Done{ID: w.ID, Token: "made-up"})
			return
		}
		next(e, done)
	}
}

// renewedNow changes the journal before the process reads it.
func renewedNow(p *Process, next Runner) Runner {
	if r := p.h.disk.journal.Renewed; r != nil {
		p.h.disk.journal.Renewed = &ha.Renewal{Boot: r.Boot, At: ha.Duration(p.h.clock.read(p.h.w.now).Boot)}
	}
	return next
}

// stopAfterJournal stops the application once the disk works.
func stopAfterJournal(p *Process, next Runner) Runner {
	var run Runner
	run = func(e ha.Effect, done func(ha.Done)) {
		if _, ok := e.(ha.StopApp); ok && p.h.writes != diskWell {
			p.h.after(journalPause, func() { run(e, done) })
			return
		}
		next(e, done)
	}
	return run
}

// saidSaved has each journal written as soon as the disk lets it, if its process
// still lives by then.
func saidSaved(p *Process, next Runner) Runner {
	return func(e ha.Effect, done func(ha.Done)) {
		if _, ok := e.(ha.Save); ok && p.h.writes != diskWell {
			done(ha.Done{})
			done = func(ha.Done) {}
		}
		next(e, done)
	}
}

func pinnedReads(p *Process, next Runner) Runner {
	return func(e ha.Effect, done func(ha.Done)) {
		next(e, func(d ha.Done) {
			h, ok := d.Object.(*ha.Head)
			if promotion := p.h.disk.journal.Promotion; ok && promotion != nil && promotion.Phase == ha.PhaseCommit {
				h.Newest = promotion.Newest
			}
			done(d)
		})
	}
}

func saysStrict(_ *Process, e ha.Write) ha.Write {
	h := *e.Object.(*ha.Head)
	h.Fencing.Mode = ha.Strict
	e.Object = &h
	return e
}

func falseAck(p *Process, next Runner) Runner {
	return func(e ha.Effect, done func(ha.Done)) {
		if r, ok := e.(ha.Read); ok && r.Kind == ha.KindAck {
			old := p.h.disk.journal.Promotion.Old
			answers(p, done, ha.Done{ID: r.ID, Object: &ha.Ack{Instance: old}})
			return
		}
		next(e, done)
	}
}

func falseFarewell(p *Process, next Runner) Runner {
	return func(e ha.Effect, done func(ha.Done)) {
		next(e, func(d ha.Done) {
			h, ok := d.Object.(*ha.Head)
			if promotion := p.h.disk.journal.Promotion; ok && promotion != nil && promotion.Phase == ha.PhaseCommit {
				h.Stopped = true
			}
			done(d)
		})
	}
}

// oneSalvage is how records of salvage backups were kept once: the second of an
// epoch was taken for the first one's repetition.
func oneSalvage(p *Process, next Runner) Runner {
	return func(e ha.Effect, done func(ha.Done)) {
		switch e := e.(type) {
		case ha.Write:
			if r, ok := e.Object.(*ha.SalvageRecord); ok {
				e.Key = ha.OldSalvageKey(r.Epoch, r.Instance.Name)
				next(e, done)
				return
			}
		case ha.Read:
			if e.Kind == ha.KindSalvage {
				e.Key = ha.OldSalvageKey(p.h.disk.journal.Demotion.Epoch+1, p.h.disk.name)
				next(e, done)
				return
			}
		}
		next(e, done)
	}
}

func falseStop(p *Process, next Runner) Runner {
	return func(e ha.Effect, done func(ha.Done)) {
		if s, ok := e.(ha.StopApp); ok && p.h.disk.journal.Handover != nil {
			answers(p, done, ha.Done{ID: s.ID})
			return
		}
		next(e, done)
	}
}

func unmounted(p *Process, next Runner) Runner {
	return func(e ha.Effect, done func(ha.Done)) {
		if b, ok := e.(ha.MakeBackup); ok && p.h.gone && p.reaches() {
			answers(p, done, ha.Done{ID: b.ID, Changed: true, Ref: p.h.w.keep("backup", b.Epoch, b.Sequence, b.Previous, empty())})
			return
		}
		next(e, done)
	}
}

func unsealed(p *Process, next Runner) Runner {
	return func(e ha.Effect, done func(ha.Done)) {
		if s, ok := e.(ha.Stage); ok && p.h.disk.stage.state != nil {
			answers(p, done, ha.Done{ID: s.ID})
			return
		}
		next(e, done)
	}
}

func unstopped(p *Process, next Runner) Runner {
	return func(e ha.Effect, done func(ha.Done)) {
		if s, ok := e.(ha.StopApp); ok && p.h.disk.journal.Promotion != nil {
			answers(p, done, ha.Done{ID: s.ID})
			return
		}
		next(e, done)
	}
}

func uninspected(p *Process, next Runner) Runner {
	return func(e ha.Effect, done func(ha.Done)) {
		if s, ok := e.(ha.Stage); ok && p.h.disk.stage.backup == s.Ref.ID {
			answers(p, done, ha.Done{ID: s.ID})
			return
		}
		next(e, done)
	}
}

func undiscarded(p *Process, next Runner) Runner {
	return func(e ha.Effect, done func(ha.Done)) {
		if d, ok := e.(ha.Discard); ok {
			answers(p, done, ha.Done{ID: d.ID})
			return
		}
		next(e, done)
	}
}

func falseSurvey(p *Process, next Runner) Runner {
	return func(e ha.Effect, done func(ha.Done)) {
		next(e, func(d ha.Done) {
			for i := range d.Sightings {
				shown := p.h.sees().objects[ha.HeadKey].value.(*ha.Head).Position()
				d.Sightings[i].Shown = &shown
			}
			done(d)
		})
	}
}

func forgetfulSurvey(_ *Process, next Runner) Runner {
	return func(e ha.Effect, done func(ha.Done)) {
		next(e, func(d ha.Done) {
			for i := range d.Sightings {
				d.Sightings[i].Seen, d.Sightings[i].Head = ha.Position{}, nil
			}
			done(d)
		})
	}
}

// forgetful changes the journal before the process reads it.
func forgetful(p *Process, next Runner) Runner {
	p.h.disk.journal.Seen, p.h.disk.journal.SeenHead = ha.Position{}, nil
	return next
}

func blind(p *Process, next Runner) Runner {
	p.blind = true
	return next
}

// pinnedRev shows the rev of when an operator's word was given, and writes the right
// one, so that nothing else is wrong.
func pinnedRev(p *Process, next Runner) Runner {
	var pinned ha.Position
	var rev uint64 // the right one
	return func(e ha.Effect, done func(ha.Done)) {
		promotion := p.h.disk.journal.Promotion
		if promotion == nil || !promotion.HostIsOff || promotion.Phase == ha.PhaseLease || promotion.Phase == ha.PhasePin || promotion.Phase == ha.PhaseFinish {
			next(e, func(d ha.Done) {
				if h, ok := d.Object.(*ha.Head); ok {
					pinned, rev = h.Position(), 0
				}
				done(d)
			})
			return
		}
		if w, ok := e.(ha.Write); ok && w.Key == ha.HeadKey && rev > 0 {
			h := *w.Object.(*ha.Head)
			h.Rev = rev + 1
			w.Object = &h
			e = w
		}
		next(e, func(d ha.Done) {
			if h, ok := d.Object.(*ha.Head); ok {
				rev, h.Rev, h.Nonce = h.Rev, pinned.Rev, pinned.Nonce
			}
			done(d)
		})
	}
}

func wordless(_ *Process, next Runner) Runner {
	return func(e ha.Effect, done func(ha.Done)) {
		if w, ok := e.(ha.Write); ok && w.Kind == ha.KindMarker {
			m := *w.Object.(*ha.Marker)
			m.HostIsOff = false
			w.Object = &m
			e = w
		}
		next(e, done)
	}
}

func unsalvaged(p *Process, next Runner) Runner {
	return func(e ha.Effect, done func(ha.Done)) {
		if s, ok := e.(ha.MakeSalvage); ok {
			answers(p, done, ha.Done{ID: s.ID})
			return
		}
		next(e, done)
	}
}

// foreignMarker has each marker that is missing say that another instance was the
// active.
func foreignMarker(_ *Process, next Runner) Runner {
	return func(e ha.Effect, done func(ha.Done)) {
		next(e, func(d ha.Done) {
			if r, ok := e.(ha.Read); ok && r.Kind == ha.KindMarker && d.Outcome == ha.Missing {
				d.Outcome, d.Object = ha.OK, &ha.Marker{Active: ha.Peer{Name: "another"}}
			}
			done(d)
		})
	}
}

func alwaysFound(p *Process, next Runner) Runner {
	return func(e ha.Effect, done func(ha.Done)) {
		if f, ok := e.(ha.FindBackup); ok {
			answers(p, done, ha.Done{ID: f.ID})
			return
		}
		next(e, done)
	}
}

func withoutHolder(_ *Process, e ha.Write) ha.Write {
	h := *e.Object.(*ha.Head)
	if h.Recovery != nil {
		r := *h.Recovery
		r.Holder = nil
		h.Recovery = &r
		e.Object = &h
	}
	return e
}

func keptAlready(p *Process, next Runner) Runner {
	return func(e ha.Effect, done func(ha.Done)) {
		if s, ok := e.(ha.MakeSalvage); ok && p.h.disk.journal.Demotion.Kept != nil {
			answers(p, done, ha.Done{ID: s.ID})
			return
		}
		next(e, done)
	}
}

func unverified(p *Process, next Runner) Runner {
	return func(e ha.Effect, done func(ha.Done)) {
		s, ok := e.(ha.Stage)
		if !ok {
			next(e, done)
			return
		}
		p.begin(s.ID, time.Second, &task{done: done, do: func() ha.Done {
			got, err := p.fetch(s.Ref.ID)
			if err != nil {
				return failed(s.ID, "fetch")
			}
			p.h.disk.stage = stage{backup: s.Ref.ID, state: got}
			return ha.Done{ID: s.ID}
		}})
	}
}

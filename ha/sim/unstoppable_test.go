package sim

import (
	"fmt"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/ha"
)

// untrueStops are mutations of what is said of an application that nothing can stop.
var untrueStops = []mutation{
	{
		guard: "the word that nothing could stop the application", broken: "a demote hook that is not there is told to have stopped it", catches: Acknowledgement,
		wrap:    pretendsToStop,
		fencing: ha.Available,
		faults:  Faults{Unstoppable: 1},
	},
	{
		guard: "the word that a handover needs which nothing there can make true", broken: "the active reads in every lease that the application is stopped", catches: Handover,
		wrap:    hearsAWord,
		fencing: ha.Available,
		faults:  Faults{Unstoppable: 1},
	},
	{
		guard: "the look for what was written after a handover on a word", broken: "it is told that the final backup has everything", catches: Durability,
		wrap:    believesTheWord,
		fencing: ha.Available,
		faults:  Faults{Unstoppable: 1, Rash: true},
	},
}

func init() { mutations = append(mutations, untrueStops...) }

// pretendsToStop is how it was once.
func pretendsToStop(_ *Process, next Runner) Runner {
	return func(e ha.Effect, done func(ha.Done)) {
		if _, ok := e.(ha.StopApp); ok {
			next(e, func(d ha.Done) {
				d.Unstopped = false
				done(d)
			})
			return
		}
		next(e, done)
	}
}

func hearsAWord(p *Process, next Runner) Runner {
	return func(e ha.Effect, done func(ha.Done)) {
		next(e, func(d ha.Done) {
			if l, ok := d.Object.(*ha.Lease); ok && l.Holder.Name != p.h.disk.name {
				l.StoppedOnWordOf = "nobody"
			}
			done(d)
		})
	}
}

func believesTheWord(p *Process, next Runner) Runner {
	return func(e ha.Effect, done func(ha.Done)) {
		d := p.h.disk.journal.Demotion
		if s, ok := e.(ha.MakeSalvage); ok && d != nil && d.Final != nil && s.Against != nil && s.Against.ID == d.Final.ID {
			answers(p, done, ha.Done{ID: s.ID})
			return
		}
		next(e, done)
	}
}

// TestWhatNothingCanStopIsInTheRuns checks that the runs go where it matters.
func TestWhatNothingCanStopIsInTheRuns(t *testing.T) {
	wanted := []string{
		"nothing can stop the application", "which is stopped on the word of operator", "where nothing can stop the application; it is stopped, says operator",
		"can stop its application: it may run beside this one", "people stop the application", "people start the application again", "strict fencing needs something on every host",
		"nothing here can stop the application: what it has written since",
	}
	var log strings.Builder
	for s := range uint64(60) {
		o := options(s + 1)
		o.Hosts = 3
		o.Faults = &Faults{Unstoppable: 0.7, Rash: true, Operate: 30e9, Request: 0.05, Every: 60e9, Trouble: Weights{Crash: 1, Quit: 1, Cut: 1}}
		o.Trace = func(format string, args ...any) { fmt.Fprintf(&log, format+"\n", args...) }
		if err := New(o).Run(); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range wanted {
		if !strings.Contains(log.String(), want) {
			t.Errorf("in no run: %q", want)
		}
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha/agent"
)

// demoStory tells the story, chapter by chapter, and checks its promises.
type demoStory struct {
	stage  *demoStage
	say    *demoTeller
	now    func() time.Time
	report demoReport
	title  string // of the chapter

	pause   time.Duration // of the application, in the last promotion
	stepped time.Duration // how long host-b took to step down
	starts  int           // of host-b's application, before the crash
	frozen  demoLedger    // as it was at the crash
	lost    demoLoss      // by the failover
}

// demoCheck is one promise, and what came of it.
type demoCheck struct {
	Chapter string  `json:"chapter"`
	Promise string  `json:"promise"`
	OK      bool    `json:"ok"`
	Seconds float64 `json:"seconds"`
	Detail  string  `json:"detail,omitempty"` // what was found, or what went wrong
}

// demoFigure is a number that people ask for first.
type demoFigure struct {
	What    string  `json:"what"`
	Seconds float64 `json:"seconds"`
	Result  string  `json:"result"`
}

// demoLoss is what of a ledger is missing.
type demoLoss struct{ count, first, last int64 }

// errDemoBroken ends a story in which a promise was broken. It was told.
var errDemoBroken = errors.New("a promise was broken")

// tell tells the story to its end, or to the first promise that does not hold:
// what follows would build on it.
func (s *demoStory) tell(ctx context.Context) demoReport {
	begin := s.now()
	s.say.opening(s.stage)
	err := error(nil)
	for _, chapter := range []func(context.Context) error{
		s.setUp, s.backUp, s.switchOver, s.failOver, s.comeBack, s.goOn,
	} {
		if err = chapter(ctx); err != nil {
			break
		}
	}
	s.report.OK = err == nil
	s.report.Seconds = s.now().Sub(begin).Seconds()
	s.report.Dir = s.stage.dir
	for _, h := range s.stage.hosts {
		s.report.Hosts = append(s.report.Hosts, demoHostInfo{Name: h.name, URL: h.url(), Environment: h.path("env"), Log: h.path("agent.log")})
	}
	return s.report
}

func (s *demoStory) chapter(title, text string) {
	s.title = title
	s.say.chapter(title, text)
}

// check does something, and notes whether a promise held and how long that
// took. who is the host whose log tells more when it did not.
func (s *demoStory) check(ctx context.Context, who *demoHost, promise string, do func() (detail string, err error)) error {
	s.say.doing(promise)
	begin := s.now()
	detail, err := do()
	c := demoCheck{Chapter: s.title, Promise: promise, OK: err == nil, Seconds: s.now().Sub(begin).Seconds(), Detail: detail}
	if ctx.Err() != nil {
		s.say.quiet()
		return ctx.Err() // interrupted, which says nothing of the promise
	}
	if err != nil {
		c.Detail = err.Error()
	}
	s.report.Checks = append(s.report.Checks, c)
	s.say.verdict(c)
	if err != nil {
		s.say.log(who)
		return errDemoBroken
	}
	return nil
}

// figure notes a number for the summary.
func (s *demoStory) figure(what string, took time.Duration, result string) {
	s.report.Figures = append(s.report.Figures, demoFigure{What: what, Seconds: took.Seconds(), Result: result})
}

// inOrder runs steps until one fails.
func inOrder(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// setUp makes the cluster around an application that runs already, as
// anybody's does.
func (s *demoStory) setUp(ctx context.Context) error {
	a, b, c := s.stage.a, s.stage.b, s.stage.c
	s.chapter("Three hosts, one bucket", `An application runs on host-a: a SQLite database and a folder of uploads,
written to without a pause. Now Understudy comes: a key, "understudy init" on
host-a, "understudy join" on host-b and host-c, and an agent on each.`)
	return inOrder(
		func() error {
			return s.check(ctx, a, "host-a is the active of a new cluster", func() (string, error) {
				return "", inOrder(
					func() error { return a.runApp(ctx, "start") },
					func() error { return s.stage.ledger.grows(ctx, 1) },
					func() error { return s.makeKey(ctx) },
					func() error { return runIn(ctx, a, "init") },
					func() error { return a.serve(ctx) },
					func() error { return s.quicken(ctx) },
					func() error { return a.settles(ctx, agent.StateActive) },
				)
			})
		},
		func() error {
			return s.check(ctx, b, "host-b and host-c join, and are in sync", func() (string, error) {
				for _, h := range []*demoHost{b, c} {
					if err := inOrder(
						func() error { return runIn(ctx, h, "join") },
						func() error { return h.serve(ctx) },
					); err != nil {
						return "", err
					}
				}
				return "", inOrder(
					func() error { return b.settles(ctx, agent.StateInSync) },
					func() error { return c.settles(ctx, agent.StateInSync) },
					func() error { return a.knows(ctx, b, c) },
				)
			})
		},
	)
}

// runIn runs a command for what it does.
func runIn(ctx context.Context, h *demoHost, args ...string) error {
	_, err := h.run(ctx, args...)
	return err
}

func (s *demoStory) makeKey(ctx context.Context) error {
	key, err := s.stage.a.run(ctx, "key", "generate")
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.stage.key, key, 0o600); err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	return nil
}

// quicken shortens the cluster's patience: these hosts share a machine and
// poll every second.
func (s *demoStory) quicken(ctx context.Context) error {
	for _, set := range [][2]string{{"stop_timeout", "3s"}, {"margin", "1s"}, {"ttl", "10s"}} {
		if err := runIn(ctx, s.stage.a, "config", "set", set[0], set[1]); err != nil {
			return err
		}
	}
	return nil
}

// backUp has a backup reach both standbys.
func (s *demoStory) backUp(ctx context.Context) error {
	a, c := s.stage.a, s.stage.c
	s.chapter("A backup", `"understudy backup" on host-a. The application holds its commits for the moment
of the snapshot, what is new goes to the bucket, encrypted and signed, and the
standbys are told, so that they need not wait for their next poll.`)
	var made backup.Ref
	return inOrder(
		func() error {
			return s.check(ctx, a, "a backup is made, and verified in both standbys' caches", func() (detail string, err error) {
				begin := s.now()
				made, err = s.replicate(ctx, a, s.stage.b, c)
				took := s.now().Sub(begin)
				if err != nil {
					return "", err
				}
				detail, err = s.describe(ctx, a, made)
				s.figure("backup, verified on both standbys", took, detail)
				return detail, err
			})
		},
		func() error {
			return s.check(ctx, c, "the standbys were told of it", func() (string, error) {
				return "", inOrder(
					func() error { return s.told(ctx, s.stage.b) },
					func() error { return s.told(ctx, c) },
				)
			})
		},
		func() error {
			return s.check(ctx, c, "restored by hand, every row has its file, byte for byte", func() (string, error) {
				dir, err := c.restored(ctx, made.ID)
				if err != nil {
					return "", err
				}
				found, err := c.check(ctx, dir, s.stage.ledger)
				if err == nil && found.Rows == 0 {
					err = errors.New("the backup is empty")
				}
				return fmt.Sprintf("%s rows", number(found.Rows)), err
			})
		},
	)
}

// replicate makes a backup and waits until the standbys have it.
func (s *demoStory) replicate(ctx context.Context, active *demoHost, standbys ...*demoHost) (backup.Ref, error) {
	ref, err := demoQuery[backup.Ref](ctx, active, "backup", "--reason", "demo")
	if err != nil {
		return ref, err
	}
	for _, h := range standbys {
		if err := h.caches(ctx, ref.ID); err != nil {
			return ref, err
		}
	}
	return ref, nil
}

// describe says how large a backup is.
func (s *demoStory) describe(ctx context.Context, h *demoHost, ref backup.Ref) (string, error) {
	all, err := demoQuery[[]agent.BackupInfo](ctx, h, "backups")
	if err != nil {
		return "", err
	}
	for _, b := range all {
		if b.ID == ref.ID {
			return fmt.Sprintf("%s of data, of which %s went to the bucket", size(b.Size.Logical), size(b.Size.Stored)), nil
		}
	}
	return "", fmt.Errorf("backup %s is not listed", ref.ID)
}

// told waits for a notification, which is sent after the backup.
func (s *demoStory) told(ctx context.Context, h *demoHost) error {
	return h.await(ctx, "was notified", func(st agent.Status) error {
		if st.Stats.NotificationsGot == 0 {
			return errors.New("no notification came")
		}
		return nil
	})
}

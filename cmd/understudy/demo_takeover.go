package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/understudy-ha/understudy/cmd/understudy/sample"
	"github.com/understudy-ha/understudy/ha/agent"
)

// switchOver moves the application to host-b, with host-a's help.
func (s *demoStory) switchOver(ctx context.Context) error {
	a, b := s.stage.a, s.stage.b
	s.chapter("Switchover: host-a needs maintenance", `"understudy promote" on host-b. host-a stops the application, makes a final
backup and hands over; host-b restores it, becomes the active, and starts the
application.`)
	return inOrder(
		func() error {
			return s.check(ctx, b, "host-b takes over", func() (string, error) {
				epoch, err := s.promote(ctx, b)
				return fmt.Sprintf("epoch %d; the application paused for %s", epoch, brief(s.pause)), err
			})
		},
		func() error {
			return s.check(ctx, b, "not one acknowledged commit is lost", func() (string, error) {
				found, err := b.check(ctx, b.data(), s.stage.ledger)
				if err != nil {
					return "", err
				}
				if l := found.Ledger; l.Acknowledged == 0 || l.Missing > 0 {
					return "", fmt.Errorf("%s are missing", commits(lossOf(found)))
				}
				detail := number(found.Ledger.Acknowledged) + " acknowledged, 0 missing"
				s.figure("switchover, application paused", s.pause, detail)
				return detail, nil
			})
		},
		func() error {
			return s.check(ctx, a, "host-a stopped its application, and is a standby in sync", func() (string, error) {
				return "", inOrder(
					func() error { return a.settles(ctx, agent.StateInSync) },
					func() error { return a.appStopped(ctx) },
				)
			})
		},
	)
}

// promote promotes a host, gives the new epoch, and measures how long the
// application's users had to wait at most.
func (s *demoStory) promote(ctx context.Context, h *demoHost, flags ...string) (epoch uint64, err error) {
	measured := s.stage.ledger.longestPause(ctx, s.now)
	defer func() { s.pause = measured() }()
	p, err := demoQuery[agent.PromotionStatus](ctx, h, append([]string{"promote", "--yes"}, flags...)...)
	if err != nil {
		return 0, err
	}
	if p.State != agent.PromotionDone {
		return 0, fmt.Errorf("the promotion was not made: %s %s", p.State, p.Error)
	}
	return p.Epoch, inOrder(
		func() error { return h.settles(ctx, agent.StateActive) },
		func() error { return s.stage.ledger.grows(ctx, 1) },
	)
}

// failOver kills host-b, and host-c takes over without its help.
func (s *demoStory) failOver(ctx context.Context) error {
	b, c := s.stage.b, s.stage.c
	s.chapter("Failover: host-b dies", `One more backup; the application goes on writing; then "kill -9" for host-b's
agent and application at once. "understudy promote --failover" on host-c waits
a few seconds for host-b, in case it is alive, and takes over.`)
	return inOrder(
		func() error {
			return s.check(ctx, b, "another backup is in both caches, and the application writes on", func() (string, error) {
				if _, err := s.replicate(ctx, b, s.stage.a, c); err != nil {
					return "", err
				}
				return "", s.stage.ledger.grows(ctx, 30) // which no backup has
			})
		},
		func() error {
			return s.check(ctx, c, "host-c takes over", func() (string, error) {
				return s.crashAndPromote(ctx)
			})
		},
		func() error {
			return s.check(ctx, c, "what came after the last backup is lost, and nothing else", func() (string, error) {
				return s.lostWhatCameAfter(ctx)
			})
		},
	)
}

func (s *demoStory) crashAndPromote(ctx context.Context) (detail string, err error) {
	b, c := s.stage.b, s.stage.c
	if s.starts, err = b.appStarts(); err != nil {
		return "", err
	}
	if err := b.crash(); err != nil {
		return "", err
	}
	if s.frozen, err = s.stage.ledger.frozen(); err != nil {
		return "", err
	}
	epoch, err := s.promote(ctx, c, "--failover")
	return fmt.Sprintf("epoch %d; the application was down for %s", epoch, brief(s.pause)), err
}

// lostWhatCameAfter compares what the new active lacks with what the newest
// backup of the old one lacks, which is restored by hand.
func (s *demoStory) lostWhatCameAfter(ctx context.Context) (string, error) {
	c := s.stage.c
	now, err := c.check(ctx, c.data(), s.frozen)
	if err != nil {
		return "", err
	}
	st, err := c.status(ctx)
	if err != nil {
		return "", err
	}
	if st.Head == nil || st.Head.StartedFrom == nil {
		return "", errors.New("the head does not say which backup was restored")
	}
	dir, err := c.restored(ctx, st.Head.StartedFrom.ID)
	if err != nil {
		return "", err
	}
	before, err := c.check(ctx, dir, s.frozen)
	if err != nil {
		return "", err
	}
	s.lost = lossOf(now)
	switch want := lossOf(before); {
	case s.lost != want:
		return "", fmt.Errorf("lost are %s, and after the restored backup came %s", commits(s.lost), commits(want))
	case s.lost.count == 0:
		return "", errors.New("nothing was lost, though there were commits after the backup")
	}
	s.figure("failover, application down", s.pause, commits(s.lost)+", lost: those after the backup")
	return commits(s.lost), nil
}

func lossOf(f sample.Findings) demoLoss {
	if f.Ledger == nil {
		return demoLoss{}
	}
	return demoLoss{count: f.Ledger.Missing, first: f.Ledger.FirstMissing, last: f.Ledger.LastMissing}
}

// commits names a range of commits.
func commits(l demoLoss) string {
	switch l.count {
	case 0:
		return "no commits"
	case 1:
		return "1 commit, number " + number(l.first)
	}
	return fmt.Sprintf("%s commits, numbers %s to %s", number(l.count), number(l.first), number(l.last))
}

// comeBack starts host-b's agent again.
func (s *demoStory) comeBack(ctx context.Context) error {
	b := s.stage.b
	s.chapter("host-b comes back", `Its agent starts, reads in the bucket that it was replaced, and does not start
the application. What the failover lost is still on its disk: that becomes a
salvage backup, before the new active's data takes its place.`)
	return inOrder(
		func() error {
			return s.check(ctx, b, "host-b steps down before its application starts", func() (string, error) {
				begin := s.now()
				err := s.stepsDown(ctx)
				s.stepped = s.now().Sub(begin)
				return "", err
			})
		},
		func() error {
			return s.check(ctx, b, "its salvage backup holds every commit that was lost", func() (string, error) {
				return s.salvaged(ctx)
			})
		},
	)
}

func (s *demoStory) stepsDown(ctx context.Context) error {
	b := s.stage.b
	if err := b.serve(ctx); err != nil {
		return err
	}
	err := b.await(ctx, "has stepped down", func(st agent.Status) error {
		if st.Role != "standby" || st.Demotion != nil {
			return fmt.Errorf("it is %s", st.State)
		}
		return nil
	})
	if err != nil {
		return err
	}
	switch starts, err := b.appStarts(); {
	case err != nil:
		return err
	case starts != s.starts:
		return fmt.Errorf("its application was started %d times", starts-s.starts)
	}
	return b.appStopped(ctx)
}

// salvaged restores the salvage backup by hand on the new active.
func (s *demoStory) salvaged(ctx context.Context) (string, error) {
	c := s.stage.c
	all, err := demoQuery[[]agent.BackupInfo](ctx, c, "backups")
	if err != nil {
		return "", err
	}
	for _, b := range all {
		if !b.Salvage {
			continue
		}
		dir, err := c.restored(ctx, b.ID)
		if err != nil {
			return "", err
		}
		found, err := c.check(ctx, dir, s.frozen)
		if err != nil {
			return "", err
		}
		if missing := lossOf(found); missing.count > 0 || found.Last < s.lost.last {
			return "", fmt.Errorf("it lacks %s, of %s", commits(missing), commits(s.lost))
		}
		s.figure("old active, stepped down", s.stepped, commits(s.lost)+", in its salvage backup")
		return commits(s.lost), nil
	}
	return "", errors.New("no salvage backup is listed")
}

// goOn shows that the cluster is whole again.
func (s *demoStory) goOn(ctx context.Context) error {
	c := s.stage.c
	s.chapter("The cluster goes on", `host-c is the active now, with two standbys again.`)
	return inOrder(
		func() error {
			return s.check(ctx, c, "a new backup is in the caches of host-a and host-b", func() (string, error) {
				if _, err := s.replicate(ctx, c, s.stage.a, s.stage.b); err != nil {
					return "", err
				}
				return "", inOrder(
					func() error { return s.stage.a.settles(ctx, agent.StateInSync) },
					func() error { return s.stage.b.settles(ctx, agent.StateInSync) },
				)
			})
		},
		func() error {
			return s.check(ctx, c, "the application goes on writing, and its data is whole", func() (string, error) {
				if err := s.stage.ledger.grows(ctx, 10); err != nil {
					return "", err
				}
				found, err := c.check(ctx, c.data(), s.stage.ledger)
				if err != nil {
					return "", err
				}
				if lost := lossOf(found); lost != s.lost {
					return "", fmt.Errorf("%s are missing, and after the failover it was %s", commits(lost), commits(s.lost))
				}
				return fmt.Sprintf("%s rows, each with its file", number(found.Rows)), nil
			})
		},
	)
}

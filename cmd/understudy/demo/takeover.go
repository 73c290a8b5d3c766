package demo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/cmd/understudy/sample"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
)

func (s *story) switchOver(ctx context.Context) (string, error) {
	p, err := s.promote(ctx, s.stage.b)
	return fmt.Sprintf("epoch %d; the application paused for %s", p.Epoch, brief(s.pause)), err
}

// promote promotes a host, and measures how long the application's users had to
// wait at most.
func (s *story) promote(ctx context.Context, h *host, flags ...string) (p promotions.PromotionStatus, err error) {
	measured := s.stage.ledger.longestPause(ctx, s.now)
	defer func() { s.pause = measured() }()
	p, err = query[promotions.PromotionStatus](ctx, h, append([]string{"promote", "--yes"}, flags...)...)
	if err != nil {
		return p, err
	}
	if p.State != promotions.PromotionDone {
		return p, fmt.Errorf("the promotion was not made: %s %s", p.State, p.Error)
	}
	return p, inOrder(
		func() error { return h.settles(ctx, report.StateActive) },
		func() error { return s.stage.ledger.grows(ctx, 1) },
	)
}

func (s *story) nothingLost(ctx context.Context) (string, error) {
	b := s.stage.b
	found, err := b.check(ctx, b.data(), s.stage.ledger)
	if err != nil {
		return "", err
	}
	acknowledged, lost := found.Ledger.Acknowledged, lossOf(found)
	if acknowledged == 0 || lost.count > 0 {
		return "", fmt.Errorf("of %s acknowledged commits are lost: %s", number(acknowledged), lost)
	}
	s.figure("switchover, application paused", s.pause, "no commit lost, of "+number(acknowledged))
	return number(acknowledged) + " acknowledged, 0 missing", nil
}

func (s *story) steppedAside(ctx context.Context) (string, error) {
	return "", inOrder(
		func() error { return s.stage.a.settles(ctx, report.StateInSync) },
		func() error { return s.stage.a.appStopped(ctx) },
	)
}

// writeOn sees to a backup that a failover can use, and to commits that no
// backup has.
func (s *story) writeOn(ctx context.Context) (string, error) {
	ref, err := replicate(ctx, s.stage.b, s.stage.a, s.stage.c)
	if err != nil {
		return "", err
	}
	return "", inOrder(
		func() error { return s.stage.a.rehearses(ctx, ref.ID) },
		func() error { return s.stage.c.rehearses(ctx, ref.ID) },
		func() error { return s.stage.ledger.grows(ctx, 30) },
	)
}

func (s *story) failOver(ctx context.Context) (detail string, err error) {
	if s.starts, err = s.stage.b.appStarts(); err != nil {
		return "", err
	}
	if err := s.stage.b.crash(); err != nil {
		return "", err
	}
	if s.frozen, err = s.stage.ledger.frozen(); err != nil {
		return "", err
	}
	p, err := s.promote(ctx, s.stage.c, "--failover")
	if err != nil {
		return "", err
	}
	took, rehearsed := leaseToStart(p.Steps)
	if !rehearsed {
		return "", errors.New("the backup was restored first, though it had been rehearsed")
	}
	s.figure("failover, promotion by itself", took, "rehearsed: nothing had to be restored")
	return fmt.Sprintf("epoch %d; the application was down for %s, of which %s for all but the wait for host-b", p.Epoch, brief(s.pause), brief(took)), nil
}

// leaseToStart is how long a promotion took from when it had the lease until
// the application was started, but for the wait for the old active, and whether
// its backup had been rehearsed.
func leaseToStart(steps []ha.Step) (took time.Duration, rehearsed bool) {
	for _, step := range steps {
		switch step.Name {
		case "lease":
			took = 0
			continue
		case "old active":
			continue
		case "restore":
			rehearsed = strings.Contains(step.Note, ": rehearsed")
		}
		took += time.Duration(step.Took)
		if step.Name == "start" {
			return took, rehearsed
		}
	}
	return took, rehearsed
}

// lostWhatCameAfter compares what the new active lacks with what the backup
// lacks that it began with, which is restored by hand.
func (s *story) lostWhatCameAfter(ctx context.Context) (string, error) {
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
		return "", fmt.Errorf("lost are %s, and after the restored backup came %s", s.lost, want)
	case s.lost.count == 0:
		return "", errors.New("nothing was lost, though there were commits after the backup")
	}
	s.figure("failover, application down", s.pause, number(s.lost.count)+" commits lost")
	return s.lost.String(), nil
}

// loss is what of a ledger is missing.
type loss struct{ count, first, last int64 }

func lossOf(f sample.Findings) loss {
	return loss{count: f.Ledger.Missing, first: f.Ledger.FirstMissing, last: f.Ledger.LastMissing}
}

// String names the commits.
func (l loss) String() string {
	switch l.count {
	case 0:
		return "no commits"
	case 1:
		return "1 commit, number " + number(l.first)
	}
	return fmt.Sprintf("%s commits, numbers %s to %s", number(l.count), number(l.first), number(l.last))
}

func (s *story) stepDown(ctx context.Context) (string, error) {
	b := s.stage.b
	begin := s.now()
	err := inOrder(
		func() error { return b.serve(ctx) },
		func() error {
			return b.await(ctx, "has stepped down", func(st report.Status) error {
				if st.Role != ha.RoleStandby || st.Demotion != nil {
					return fmt.Errorf("it is %s", st.State)
				}
				return nil
			})
		},
	)
	s.stepped = s.now().Sub(begin)
	if err != nil {
		return "", err
	}
	switch starts, err := b.appStarts(); {
	case err != nil:
		return "", err
	case starts != s.starts:
		return "", fmt.Errorf("its application was started %d times", starts-s.starts)
	}
	return "", b.appStopped(ctx)
}

// salvaged restores the salvage backup by hand on the new active.
func (s *story) salvaged(ctx context.Context) (string, error) {
	c := s.stage.c
	all, err := query[[]control.BackupInfo](ctx, c, "backups")
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
		if missing := lossOf(found); missing.count > 0 {
			return "", fmt.Errorf("it lacks %s; the failover lost %s", missing, s.lost)
		}
		// The crash may have come between a commit and its acknowledgement.
		if more := found.Rows - found.Ledger.Acknowledged; more > 1 {
			return "", fmt.Errorf("it holds %s commits more than were acknowledged", number(more))
		}
		s.figure("old active, stepped down", s.stepped, number(s.lost.count)+" commits salvaged")
		return s.lost.String(), nil
	}
	return "", errors.New("no salvage backup is listed")
}

func (s *story) followed(ctx context.Context) (string, error) {
	a, b := s.stage.a, s.stage.b
	if _, err := replicate(ctx, s.stage.c, a, b); err != nil {
		return "", err
	}
	return "", inOrder(
		func() error { return a.settles(ctx, report.StateInSync) },
		func() error { return b.settles(ctx, report.StateInSync) },
	)
}

func (s *story) wholeAgain(ctx context.Context) (string, error) {
	c := s.stage.c
	if err := s.stage.ledger.grows(ctx, 10); err != nil {
		return "", err
	}
	found, err := c.check(ctx, c.data(), s.stage.ledger)
	if err != nil {
		return "", err
	}
	if lost := lossOf(found); lost != s.lost {
		return "", fmt.Errorf("lost are %s, and at the failover it was %s", lost, s.lost)
	}
	return fmt.Sprintf("%s rows, each with its file", number(found.Rows)), nil
}

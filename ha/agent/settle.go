package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/datadir"
	"github.com/understudy-ha/understudy/ha/sources"
	"github.com/understudy-ha/understudy/ha/staging"
	"github.com/understudy-ha/understudy/restore"
)

// Settlement is how a restore ended that a crash had interrupted.
type Settlement struct {
	Resolution restore.Resolution `json:"resolution"`
	// Kept is where lies what this host had before, where nobody knew whether it
	// is still needed.
	Kept []string `json:"kept,omitempty"`
}

// String says what was done, for people.
func (s *Settlement) String() string {
	switch s.Resolution {
	case restore.Back:
		return "a restore that a crash had interrupted was rolled back: the application's state is what it was before"
	case restore.Forward:
		return "a restore that a crash had interrupted was finished: the application's state is the restored one"
	}
	kept := "it replaced nothing"
	if len(s.Kept) > 0 {
		kept = "what it had replaced is kept in " + strings.Join(s.Kept, ", ") + ": delete it once you know that nobody needs it"
	}
	return "a restore that a crash had interrupted stays in place, for nobody knows whether its promotion had committed; " + kept
}

// verdict is what a journal says of a promotion that was interrupted. One whose
// commit may have landed counts as abandoned: its application was never started,
// so the restored state holds nothing that the bucket lacks. Of a data folder that
// was copied, or put back, nobody knows what became of it since.
func verdict(j ha.Journal) restore.Verdict {
	switch p := j.Promotion; {
	case p == nil, j.Doubt != "":
		return restore.NotKnown
	case p.Phase == ha.PhaseFinish:
		return restore.Committed
	}
	return restore.Abandoned
}

// settle ends a restore that was interrupted on this host, in the way that loses
// nothing; nil where there was none. No agent runs. It may be run again after a
// crash.
func settle(ctx context.Context, cfg Config, dir *datadir.Dir, j ha.Journal) (*restore.Swapper, *Settlement, error) {
	volumes, _ := sources.OpenVolumes(dir) // what cannot be read, the agent tells when it starts
	s, err := restore.NewSwapper(dir.File(datadir.SwapFolder), cfg.Sources)
	if err != nil {
		return nil, nil, err
	}
	s.Step, s.Volume = cfg.Step, volumes.Check
	r, err := s.Resolution(ctx, verdict(j))
	if err != nil || r == restore.Settled {
		return s, nil, err
	}
	if r == restore.Back {
		if _, err := staging.NobodyHas(ctx, cfg.Clock, s.Live); errors.Is(err, staging.ErrHeld) {
			return s, nil, &ha.Refusal{Reason: "an interrupted restore has to be rolled back first: " + err.Error()}
		} else if err != nil {
			return s, nil, err
		}
	}
	kept, err := s.Resolve(ctx, r)
	done := &Settlement{Resolution: r, Kept: kept}
	err = errors.Join(err, staging.NoteKept(dir, kept, cfg.Clock.Now().Wall))
	if err != nil && len(kept) > 0 {
		err = fmt.Errorf("%w (%v)", err, done)
	}
	return s, done, err
}

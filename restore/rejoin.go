package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/polite"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/stream"
)

// Rejoin makes stages of what lies at the places of a former active's sources: of those
// whose successor's log goes on from there. m is the backup that the successor has restored,
// and ends are, by source, up to where it has applied the log. Such a stage is kept for the
// next Stage to bring forward; nothing is Staged by it. What is held already stays.
//
// It returns the names of the sources that rejoin, and why others cannot (refused, which is
// source.ErrNoRejoin). The live state is not touched.
func (s *Swapper) Rejoin(ctx context.Context, m *backup.Manifest, ends map[string]stream.Position) (rejoined []string, refused, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err = s.set.checkVolumes(ctx, s.set.all); err == nil {
		err = s.finishEarlier(ctx)
	}
	if err == nil {
		rejoined, refused, err = s.stager.rejoin(ctx, m, ends)
	}
	if err != nil {
		err = fmt.Errorf("rejoin from backup %s: %w", m.ID, err)
	}
	return rejoined, refused, err
}

func (s *stager) rejoin(ctx context.Context, m *backup.Manifest, ends map[string]stream.Position) (rejoined []string, refused, err error) {
	p, err := s.plan(ctx, m, nil)
	if err != nil {
		return nil, nil, err
	}
	j := s.begin(p)
	p.parts = slices.DeleteFunc(p.parts, func(one part) bool {
		_, can := one.Source.(source.Rejoiner)
		return !can || one.held != nil
	})
	if len(p.parts) == 0 {
		return nil, nil, nil
	}
	if err := s.set.unheard(ctx); err != nil {
		return nil, nil, err
	}
	if err := s.acceptable(ctx, p); err != nil {
		return nil, nil, err
	}
	if err := s.settlePlaces(ctx, &j, p.journal); err != nil {
		return nil, nil, err
	}
	if err := s.fits(p); err != nil {
		return nil, nil, err
	}
	if err := s.journal.write(&j, Staging); err != nil {
		return nil, nil, err
	}
	for _, one := range p.parts {
		switch failed := s.rejoinOne(ctx, one, &j, ends[one.Name()]); {
		case failed == nil:
			rejoined = append(rejoined, one.Name())
		case errors.Is(failed, source.ErrNoRejoin):
			refused = errors.Join(refused, failed)
		default:
			err = errors.Join(err, failed)
		}
	}
	return rejoined, refused, errors.Join(err, s.settle(ctx, j))
}

// rejoinOne makes one stage, of which the journal says that it is the backup's: from there
// on its log goes on.
func (s *stager) rejoinOne(ctx context.Context, p part, j *journal, end stream.Position) error {
	if to, known := source.LogPosition(p.entry); known {
		end = max(end, to)
	}
	var x source.Examination
	ctx = source.WithExamination(ctx, &x)
	err := s.set.do("stage", p.Source, func() error {
		return polite.Do(ctx, func() error { return p.Source.(source.Rejoiner).Rejoin(ctx, p.entry, end) })
	})
	if err != nil {
		return err
	}
	print, err := p.Fingerprint(ctx)
	if err != nil {
		return err
	}
	j.setStage(p.Source, p.entry, print)
	j.setFound(p.Source, x.Findings)
	return s.journal.write(j, Staging)
}

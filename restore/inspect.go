package restore

import (
	"context"
	"fmt"

	"github.com/understudy-ha/understudy/backup/source"
)

// Inspected is what the last comparison of stages with what they were found: how
// many entries are as they were staged, and how many are not, or were not before
// they were restored again.
func (s *Swapper) Inspected() source.Inspection {
	return s.stager.found()
}

func (s *stager) found() source.Inspection {
	s.looks.Lock()
	defer s.looks.Unlock()
	return s.inspected
}

// inspect compares the stages that a plan would keep or bring forward, entry by
// entry, with what they were when they were written. One that is damaged is brought forward to
// itself: what is damaged in it is restored again. A stage that is a single file is
// as its fingerprint says.
func (s *stager) inspect(ctx context.Context, p *plan) error {
	var sum source.Inspection
	for i, part := range p.parts {
		inspector, ok := part.Source.(source.Inspector)
		if !ok {
			if err := p.inspectWhole(part, &sum); err != nil {
				return err
			}
			continue
		}
		if part.held == nil {
			continue
		}
		found, err := inspector.Inspect(ctx)
		if err != nil {
			return err
		}
		sum.Entries += found.Entries
		if found.Damaged == 0 {
			continue
		}
		if sum.Damaged += found.Damaged; sum.First == "" {
			sum.First = fmt.Sprintf("%s in %s", found.First, part.Name())
		}
		p.parts[i].keep = false
		if found.Entries == 0 { // nothing says what it was
			p.parts[i].held = nil
		}
	}
	s.looks.Lock()
	defer s.looks.Unlock()
	s.inspected = sum
	return nil
}

// inspectWhole counts a stage that is one file, which plan has compared with its
// fingerprint: it is as it was, or is built anew.
func (p *plan) inspectWhole(part part, sum *source.Inspection) error {
	record := p.stageOf(part.Source)
	if _, file := part.Source.(source.Rereader); !file || record == nil {
		return nil
	}
	if part.held != nil {
		sum.Entries++
		return nil
	}
	if moved, err := p.moved(part.Source); err != nil || moved {
		return err
	}
	if sum.Damaged++; sum.First == "" {
		sum.First = "that of " + part.Name()
	}
	return nil
}

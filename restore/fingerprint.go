package restore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/source"
)

// ErrTouched means that a stage is not as it was left: somebody wrote to it, or
// it is gone. Its message says of which source. It has to be staged again.
var ErrTouched = errors.New("the stage is not as it was left")

// pinOf names a backup by its id and by the digest of all that its manifest
// says.
func pinOf(m *backup.Manifest) (pin, error) {
	data, err := json.Marshal(m)
	if err != nil {
		return pin{}, err
	}
	sum := sha256.Sum256(data)
	return pin{Backup: m.ID, Digest: hex.EncodeToString(sum[:])}, nil
}

func (j *journal) heldOf(ctx context.Context, src source.Source) (*stageRecord, error) {
	record := j.stageOf(src)
	if record == nil {
		return nil, nil //nolint:nilnil // there is none
	}
	if moved, err := j.moved(src); err != nil || moved {
		return nil, err // it lies where it is of no use any more
	}
	print, err := src.Fingerprint(ctx)
	if err != nil || print == "" || print != record.Fingerprint {
		return nil, err
	}
	return record, nil
}

func (j *journal) stageOf(src source.Source) *stageRecord {
	at := j.indexOf(src)
	if at < 0 {
		return nil
	}
	record := j.Stages[at]
	return &record
}

func (j *journal) indexOf(src source.Source) int {
	name := journalSource{src.Kind(), src.Name()}
	return slices.IndexFunc(j.Stages, func(r stageRecord) bool { return r.Source == name })
}

// setStage notes what a source's stage holds; an empty fingerprint forgets it.
func (j *journal) setStage(src source.Source, e source.Entry, print string) {
	if at := j.indexOf(src); at >= 0 {
		j.Stages = slices.Delete(slices.Clone(j.Stages), at, at+1)
	}
	if print != "" {
		j.Stages = append(slices.Clip(j.Stages), stageRecord{Source: journalSource{src.Kind(), src.Name()}, Entry: e, Fingerprint: print})
	}
}

// setFound notes what was found out about a source's stage.
func (j *journal) setFound(src source.Source, found source.Findings) {
	if at := j.indexOf(src); at >= 0 && !found.Empty() {
		j.Stages = slices.Clone(j.Stages)
		j.Stages[at].Found = &found
	}
}

// setMoment notes that a source's stage is of a moment.
func (j *journal) setMoment(src source.Source, is bool) {
	if at := j.indexOf(src); at >= 0 && is {
		j.Stages = slices.Clone(j.Stages)
		j.Stages[at].Moment = true
	}
}

// sound tells whether nothing is wrong with what is staged.
func (r *stageRecord) sound() bool { return r.Found == nil || len(r.Found.Damage) == 0 }

func (r *stageRecord) found() source.Findings {
	if r.Found == nil {
		return source.Findings{}
	}
	return *r.Found
}

// Found is what was found out about the backup that is staged.
func (s *Swapper) Found() (source.Findings, error) {
	var all source.Findings
	j, err := s.journal.read()
	for _, record := range j.Stages {
		if record.Found != nil {
			all.Damage = append(all.Damage, named(record.Source.Name, record.Found.Damage)...)
			all.Unchecked = append(all.Unchecked, named(record.Source.Name, record.Found.Unchecked)...)
		}
	}
	return all, err
}

func named(source string, texts []string) []string {
	all := make([]string, len(texts))
	for i, text := range texts {
		all[i] = source + ": " + text
	}
	return all
}

// whole tells whether every source has its stage.
func whole(held []*stageRecord) bool { return !slices.Contains(held, nil) }

// checkFingerprints looks at the stages before they are swapped. Those that hold are
// kept when others do not.
func (s *stager) checkFingerprints(ctx context.Context, j journal) error {
	held, err := s.set.held(ctx, j)
	if err != nil {
		return err
	}
	if whole(held) {
		return nil
	}
	var broken []string
	for i, src := range j.placed(s.set.all) {
		if held[i] == nil {
			broken = append(broken, src.Name())
			if err := s.set.abandon(ctx, j, s.set.all[i]); err != nil {
				return err
			}
			j.setStage(src, source.Entry{}, "")
		}
	}
	return errors.Join(fmt.Errorf("%w (%s): stage it again", ErrTouched, strings.Join(broken, ", ")), s.journal.write(&j, Idle))
}

// settle ends a staging that did not come to its end: what is whole stays, the
// rest is dropped. It goes on when ctx is cancelled.
func (s *stager) settle(ctx context.Context, j journal) error {
	ctx = context.WithoutCancel(ctx)
	intact := j.Earlier != nil
	var errs []error
	for _, src := range j.placed(s.set.all) {
		record := j.stageOf(src)
		if record != nil {
			print, err := src.Fingerprint(ctx)
			if err != nil || print == record.Fingerprint {
				continue // what cannot be known now is looked at again before it is used
			}
		}
		intact = false
		errs = append(errs, s.set.do("swap back", src, func() error { return src.SwapBack(ctx) }))
		j.setStage(src, source.Entry{}, "")
	}
	if err := errors.Join(errs...); err != nil {
		return err // the journal still says Staging, so that it is tried again
	}
	if !intact {
		return s.journal.write(&j, Idle)
	}
	j.pin, j.Sources = *j.Earlier, s.set.names()
	return s.journal.write(&j, Staged)
}

package postgrescluster

import (
	"context"
	"fmt"

	"github.com/dustin/go-humanize"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/polite"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/stage"
	"github.com/understudy-ha/understudy/backup/source/internal/swap"
	"github.com/understudy-ha/understudy/backup/source/postgrescluster/internal/wal"
)

// A stage that goes on by the log never has the base of a later backup: a rehearsal restores
// each base once in a place of its own, with its log, beside a stage that goes on meanwhile.

// margin is what has to stay free on the disk of a stage, beside which a base is restored.
const margin = 64 << 20

// prove restores the base of a backup beside the stage, unless the stage is of it, or that was
// done before. It is for a rehearsal alone: a promotion does not wait for it. It returns where
// the base begins, or 0 and why nothing of it was ever restored here.
func (st *stager) prove(ctx context.Context, r *pack.Reader, e source.Entry) (proven wal.LSN, why string, err error) {
	f, err := st.accept(ctx, e)
	if err != nil {
		return 0, "", err
	}
	st.proving.Lock()
	defer st.proving.Unlock()
	why = "nothing of it was restored here yet"
	err = st.place.at(func(x stage.Placement) error {
		n, err := readNote(x.At())
		switch {
		case err != nil || n == nil:
			return err
		case n.Proven == f.Start:
			proven = f.Start
			return nil
		case !polite.Is(ctx) || n.System != f.System || n.Timeline != f.Timeline || n.To < f.From:
			return nil // it is a promotion, or the stage is built anew
		}
		folder, need := st.space(e)
		switch free, err := st.free(folder); {
		case err != nil:
			return err
		case free < need+margin:
			why = fmt.Sprintf("it was not restored, for beside the replica %s are free and it takes %s", humanize.IBytes(uint64(max(0, free))), humanize.IBytes(uint64(need+margin)))
			return nil
		}
		if err := st.restoreBeside(ctx, r, e, f, x.At()); err != nil {
			return fmt.Errorf("restore its base beside the replica: %w", err)
		}
		proven = f.Start
		return nil
	})
	return proven, why, err
}

// restoreBeside restores a base with its log, and removes it again.
func (st *stager) restoreBeside(ctx context.Context, r *pack.Reader, e source.Entry, f Facts, s *stage.Stage) (err error) {
	at := proofAt(s)
	if err := removeProof(ctx, at); err != nil {
		return err
	}
	who, mode, err := ownerOf(s.Place, f)
	if err != nil {
		return err
	}
	made, err := at.Dir.Make(at.Name)
	if err != nil {
		return err
	}
	defer made.Close()
	err = st.restore(ctx, r, e, &f, at, made, who, mode, func(f *Facts, made *fsx.Dir, who owner) (wal.Record, error) {
		return plantLog(ctx, r, *e.Extra, *f, made, who)
	})
	if removed := removeProof(context.WithoutCancel(ctx), at); err == nil {
		err = removed
	}
	return err
}

// proofAt is where a base is restored beside a stage.
func proofAt(s *stage.Stage) fsx.Place {
	return fsx.Place{Dir: s.In, Name: swap.Beside(s.Place.Name, "proof")}
}

// removeProof removes it, with the folder of its server's socket: what an earlier process has
// left, too, whose server may still run.
func removeProof(ctx context.Context, at fsx.Place) error {
	if err := endAt(ctx, at.Dir, at.Name); err != nil {
		return err
	}
	if err := fsx.RemoveAll(ctx, at.Dir, at.Name); err != nil {
		return err
	}
	return removeRun(ctx, at)
}

// sweepProof removes what an earlier process has left.
func (st *stager) sweepProof(ctx context.Context, x stage.Placement) error {
	if x.At().In == nil || !st.proving.TryLock() {
		return nil
	}
	defer st.proving.Unlock()
	return removeProof(ctx, proofAt(x.At()))
}

package prometheus

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/holder"
	"github.com/understudy-ha/understudy/backup/outlet"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/program"
	"github.com/understudy-ha/understudy/backup/source/internal/swap"
	"github.com/understudy-ha/understudy/backup/source/volume"
)

// A server writes to its data folder by names: a folder that is swapped beneath
// it would be spoilt. So it is stopped around the swap, either way. What a
// crash leaves is known by the file "swapping" in the scratch folder, which is
// there from before the server is stopped until the swap is undone or final.

// process is the server's, which is stopped around a swap.
type process struct {
	api         *api
	stop, start []string
	timeout     time.Duration
	scratch     string
	dataDir     string
	live        func() ([]holder.Place, error) // what the server has open
	keepOutput  outlet.Collector
	fault       func(step string) error // called before each step, in tests
}

func (s *process) swapping() string { return filepath.Join(s.scratch, "swapping") }

// Space implements Restorer.
func (p *Source) Space(e source.Entry) (folder string, bytes int64) { return p.tree.Space(e) }

// Staged is the path of the staged data folder.
func (p *Source) Staged() string { return p.tree.Staged() }

// Accept implements Restorer.
func (p *Source) Accept(ctx context.Context, e source.Entry) error { return p.readable(ctx, e) }

// Fingerprint implements Restorer.
func (p *Source) Fingerprint(ctx context.Context) (string, error) { return p.tree.Fingerprint(ctx) }

// Stage implements Restorer. The server may run.
func (p *Source) Stage(ctx context.Context, r *pack.Reader, e source.Entry) error {
	err := p.snapshots.sweep(ctx)
	if err == nil {
		err = p.readable(ctx, e)
	}
	if err != nil {
		return fmt.Errorf("stage %s: %w", p.name, err)
	}
	return p.tree.Stage(ctx, r, asDirectory(e))
}

// Advance implements Advancer.
func (p *Source) Advance(ctx context.Context, r *pack.Reader, from, to source.Entry) error {
	if err := p.readable(ctx, to); err != nil {
		return fmt.Errorf("bring the stage of %s forward: %w", p.name, err)
	}
	return p.tree.Advance(ctx, r, asDirectory(from), asDirectory(to))
}

// readable refuses blocks that this host's server could not read, as far as it
// answers: those of version 3 need 2.55 or later.
func (p *Source) readable(ctx context.Context, e source.Entry) error {
	if e.Kind != p.Kind() {
		return fmt.Errorf("restore %s: it is a %s, not a prometheus", e.Name, e.Kind)
	}
	var facts Facts
	if err := json.Unmarshal(e.Facts, &facts); err != nil {
		return fmt.Errorf("restore %s: read facts: %w", e.Name, err)
	}
	if facts.Version == "" || before(facts.Version, 3, 0) {
		return nil
	}
	here, err := p.api.version(ctx)
	if err == nil && before(here, 2, 55) {
		return fmt.Errorf("the backup is of Prometheus %s, whose blocks Prometheus %s on this host cannot read: install 2.55 or later", facts.Version, here)
	}
	return ctx.Err()
}

// Swap implements Restorer. It starts the server again, and fails if that
// fails.
func (p *Source) Swap(ctx context.Context) error {
	if err := p.swap(ctx); err != nil {
		return fmt.Errorf("swap %s: %w", p.name, err)
	}
	return nil
}

func (p *Source) swap(ctx context.Context) error {
	begun, err := p.begun(ctx)
	if err != nil {
		return err
	}
	if !begun {
		if print, err := p.Fingerprint(ctx); err != nil {
			return err
		} else if print == "" {
			return fmt.Errorf("%w at %s", swap.ErrNothingStaged, p.Staged())
		}
		if err := p.process.begin(); err != nil {
			return err
		}
	}
	return p.process.whileStopped(ctx, func() error { return p.tree.Swap(ctx) })
}

// begin notes that the server will be stopped.
func (s *process) begin() error {
	if err := fsx.MakeScratch(s.scratch); err != nil {
		return err
	}
	if err := fsx.WriteFile(s.swapping(), func(io.Writer) error { return nil }); err != nil {
		return err
	}
	return fsx.SyncDir(s.scratch)
}

// SwapBack implements Restorer.
func (p *Source) SwapBack(ctx context.Context) error {
	if err := p.swapBack(ctx); err != nil {
		return fmt.Errorf("swap %s back: %w", p.name, err)
	}
	return nil
}

func (p *Source) swapBack(ctx context.Context) error {
	begun, err := p.begun(ctx)
	if err != nil {
		return err
	}
	if !begun {
		return p.tree.SwapBack(ctx) // no more than a stage is there
	}
	if err := p.process.whileStopped(ctx, func() error { return p.tree.SwapBack(ctx) }); err != nil {
		return err
	}
	return fsx.RemoveFiles(p.process.swapping())
}

// Discard implements Restorer.
func (p *Source) Discard(ctx context.Context) error {
	if err := p.tree.Discard(ctx); err != nil {
		return err
	}
	if err := fsx.RemoveFiles(p.process.swapping()); err != nil {
		return fmt.Errorf("discard leftovers of %s: %w", p.name, err)
	}
	return nil
}

// Sweep implements Sweeper.
func (p *Source) Sweep(ctx context.Context) ([]source.Leftover, error) { return p.tree.Sweep(ctx) }

// whileStopped does something between the server's stop and its start.
func (s *process) whileStopped(ctx context.Context, do func() error) error {
	if err := s.fault("stop"); err != nil {
		return err
	}
	if err := s.run(ctx, "stop", s.stop); err != nil {
		return err
	}
	if err := s.stopped(ctx); err != nil {
		return err
	}
	if err := s.fault("swap"); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	if err := s.fault("start"); err != nil {
		return err
	}
	return s.run(ctx, "start", s.start)
}

// stopped is an error while the server runs.
func (s *process) stopped(ctx context.Context) error {
	if s.api.answers(ctx) {
		return fmt.Errorf("stop has succeeded, but %s is still served: it may end only when the server has", s.api.url.Redacted())
	}
	held, err := s.whoHolds(ctx)
	if err != nil {
		return err
	}
	if held != nil {
		return fmt.Errorf("stop has succeeded, but %v in %s: it may end only when the server has", *held, s.dataDir)
	}
	return nil
}

// run runs stop or start to its end. A server that start leaves running may
// print for as long as it likes.
func (s *process) run(ctx context.Context, what string, argv []string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout, fmt.Errorf("it took longer than %v", s.timeout))
	defer cancel()
	prog := program.Program{Argv: argv, Env: program.Environ()}
	said := &outlet.Tail{Max: program.StderrKept}
	if err := outlet.Run(prog.Command(ctx, nil), filepath.Join(s.scratch, what+".log"), said, s.keepOutput); err != nil {
		return fmt.Errorf("%s Prometheus: %w", what, prog.Failure(ctx, err, said))
	}
	return nil
}

// Reach implements Restorer.
func (p *Source) Reach(ctx context.Context) (source.Reach, error) { return p.tree.Reach(ctx) }

// Keep implements Restorer.
func (p *Source) Keep(ctx context.Context) (string, error) { return p.tree.Keep(ctx) }

// Live implements Openable: the server that has it open is stopped by the swap
// itself, which looks for others then.
func (p *Source) Live() ([]holder.Place, error) { return nil, nil }

// Replaced implements Openable.
func (p *Source) Replaced() ([]holder.Place, error) { return p.tree.Replaced() }

// whoHolds returns somebody who has something in a data folder open; nil for
// nobody, as far as this process may see.
func (s *process) whoHolds(ctx context.Context) (*holder.Holder, error) {
	live, err := s.live()
	if err != nil {
		return nil, err
	}
	found, err := holder.Find(ctx, live, nil)
	if err != nil || len(found.Holders) == 0 {
		return nil, err
	}
	return &found.Holders[0], nil
}

// begun tells whether the server is, or may be, stopped for a swap: the note of
// that may have been lost together with the scratch folder.
func (p *Source) begun(ctx context.Context) (bool, error) {
	noted, err := fsx.Exists(p.process.swapping())
	if err != nil || noted {
		return noted, err
	}
	reach, err := p.tree.Reach(ctx)
	if err != nil || reach < source.ReachBegun {
		return false, err
	}
	return true, fsx.MakeScratch(p.cfg.Scratch) // where its programs leave what they print
}

// Volumes implements source.Voluminous.
func (p *Source) Volumes() ([]volume.Volume, error) { return p.tree.Volumes() }

// Inspect implements Inspector.
func (p *Source) Inspect(ctx context.Context) (source.Inspection, error) { return p.tree.Inspect(ctx) }

// OpenStaged implements Rereader.
func (p *Source) OpenStaged(e source.Entry) (source.StagedContent, error) {
	return p.tree.OpenStaged(e)
}

// Distrust implements Rereader.
func (p *Source) Distrust(ctx context.Context, r *pack.Reader, e source.Entry, at source.Spot) (bool, error) {
	return p.tree.Distrust(ctx, r, e, at)
}

// Lost implements source.Measured.
func (f *Facts) Lost(was *Facts) string {
	if was.Samples == 0 || f.Samples > 0 {
		return ""
	}
	return fmt.Sprintf("had %s samples, has none", humanize.Comma(int64(was.Samples)))
}

// Lasting implements source.Laster.
func (p *Source) Lasting() ([]string, error) { return p.tree.Lasting() }

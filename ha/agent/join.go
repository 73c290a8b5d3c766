package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/datadir"
	"github.com/understudy-ha/understudy/ha/membership"
	"github.com/understudy-ha/understudy/ha/report"
	"github.com/understudy-ha/understudy/restore"
)

// Joined is what came of joining.
type Joined struct {
	Cluster string
	Settled *Settlement // nil: there was nothing to settle
	// Unkept is what this host has of the sources though it is new in the cluster:
	// no backup is known to have it.
	Unkept string
	// Newest is the cluster's newest backup; nil when there is none, or it cannot
	// be read.
	Newest *backup.Manifest
}

// Joining is how an instance joins.
type Joining struct {
	// Replace takes the name over from whoever has it: so joins an instance afresh
	// that has lost its data folder, or must not go on with the one that it has.
	Replace bool
	// Salvage has what this host has kept as a salvage backup before anything can
	// replace it. What was the active's is kept without being asked for.
	Salvage bool
}

// Join makes this instance a standby of the cluster in the bucket. A restore that
// was interrupted on this host ends first. A name that somebody else uses is a
// *ha.Refusal unless how says to replace it. No agent may be running on the data
// folder.
func Join(ctx context.Context, cfg Config, how Joining) (done Joined, err error) {
	cfg, err = cfg.complete()
	if err != nil {
		return done, err
	}
	dir, err := datadir.Open(ctx, cfg.DataDir)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	if done, err = join(ctx, cfg, dir, how); err != nil {
		return done, fmt.Errorf("join cluster: %w", err)
	}
	return done, nil
}

func join(ctx context.Context, cfg Config, dir *datadir.Dir, how Joining) (done Joined, err error) {
	old, found, err := dir.LoadJournal()
	if err != nil {
		return done, err
	}
	if err := membership.CheckStore(ctx, cfg.Store, cfg.RequestTimeout, cfg.Random); err != nil {
		return done, err
	}
	b, _, err := control.Open(ctx, cfg.control())
	if err != nil {
		return done, err
	}
	if found && old.Cluster != b.Cluster() {
		return done, fmt.Errorf("%w: it holds another cluster (%s) than the data folder %s belongs to (%s): leave that one first (understudy leave), or use another folder",
			control.ErrBucket, b.Cluster(), dir.Path(), old.Cluster)
	}
	h, err := b.Head(ctx)
	if err != nil {
		return done, err
	}
	if err := cfg.refuseUnstoppable(cfg.Hooks, h); err != nil {
		return done, err
	}
	incarnation, err := membership.RandomHex(cfg.Random, 16)
	if err != nil {
		return done, err
	}
	r := membership.NewRegistrar(b, ha.Peer{Name: cfg.Instance, URL: cfg.URL, Incarnation: incarnation}, old.Incarnations, cfg.Random)
	if found && !how.Replace {
		if err := refuseMember(ctx, old, r, cfg.Instance, h); err != nil {
			return done, err
		}
	}
	// What cannot be looked at yet, on a blank host, is among what keeps the standby
	// from taking over; should something unfinished lie there, no stage is made.
	if _, done.Settled, err = settle(ctx, cfg, dir, old); err != nil && !errors.Is(err, restore.ErrUnseen) {
		return done, err
	}
	done.Cluster = b.Cluster()
	if h.Newest != nil {
		done.Newest, _ = b.Repository().Load(ctx, *h.Newest) // its trouble shows once the agent runs
	}
	j := ha.JoinJournal(old, b.Cluster(), cfg.Instance, h)
	if j.Demotion == nil && !found {
		if j.Demotion, err = owedByRecord(ctx, r, h); err != nil {
			return done, err
		}
		j.Unkept = has(ctx, cfg.Sources)
	}
	if j.Demotion == nil && how.Salvage {
		j.Demotion = ha.Owed(j.Epoch, h)
	}
	if j.Demotion != nil {
		j.Unkept = ""
	}
	done.Unkept = j.Unkept
	j.Incarnations = append(slices.Clone(old.Incarnations), incarnation)
	if err := dir.SaveJournal(j); err != nil {
		return done, err
	}
	rec := ha.Instance{Role: ha.RoleStandby, State: report.StateWaiting, Epoch: h.Epoch, Version: cfg.Version, Keys: cfg.Ring.IDs(), Unstoppable: cfg.unstoppable(cfg.Hooks), Time: cfg.Clock.Now().Wall}
	if err := r.Take(ctx, rec, true, how.Replace); err != nil {
		if !found && ha.IsRefusal(err) { // else the record may yet land
			err = errors.Join(err, dir.Remove(datadir.JournalFile))
		}
		return done, err
	}
	j.Settle(incarnation)
	return done, dir.SaveJournal(j)
}

// refuseMember refuses an instance that is in the cluster already, unless it
// was removed from it.
func refuseMember(ctx context.Context, old ha.Journal, r *membership.Registrar, name string, h *ha.Head) error {
	if old.Role == ha.RoleActive {
		return &ha.Refusal{Reason: fmt.Sprintf("this data folder is that of the active %s: start it (understudy serve); if it must not go on as the active, join it afresh with --replace: its agent then keeps its state as a salvage backup first", old.Instance)}
	}
	if old.Instance != name {
		return &ha.Refusal{Reason: fmt.Sprintf("this data folder belongs to the instance %s: set UNDERSTUDY_INSTANCE=%s, or use another data folder", old.Instance, old.Instance)}
	}
	rec, attrs, err := r.Current(ctx)
	switch {
	case err != nil:
		return err
	case rec == nil:
		return nil
	case !r.Owns(rec):
		return r.InUse(rec, attrs.Time)
	}
	return &ha.Refusal{Reason: fmt.Sprintf("%s has joined already (the active is %s): start it with: understudy serve", name, h.Active.Name)}
}

// owedByRecord is what a host owes that has lost its data folder: by its record it
// was the active, or had not finished stepping down. Nobody knows what of its state
// is in a backup. It may have another name now: a record with its URL is its own too.
func owedByRecord(ctx context.Context, r *membership.Registrar, h *ha.Head) (*ha.Demotion, error) {
	all, err := r.AtItsURL(ctx)
	if err != nil {
		return nil, err
	}
	for _, rec := range all {
		if rec.Role == ha.RoleActive || rec.State == report.StateDemoting || rec.State == report.StateRefused || h.Active.Name == rec.Name {
			return ha.Owed(rec.Epoch, h), nil
		}
	}
	return nil, nil
}

// has says what a host has of the sources; "" for nothing. What only a dump would
// tell, a command's output say, it does not know.
func has(ctx context.Context, sources []source.Source) string {
	var all []string
	for _, s := range sources {
		if _, may := s.(source.RestoreChecker); !may {
			continue
		}
		if s.Check(ctx) != nil {
			if p, may := s.(source.Present); may && isThere(p) {
				all = append(all, s.Name())
			}
			continue
		}
		holds, err := source.Holds(ctx, s)
		switch {
		case err != nil || holds == "":
			all = append(all, s.Name())
		case !strings.HasPrefix(holds, "0 "):
			all = append(all, s.Name()+" ("+holds+")")
		}
	}
	return strings.Join(all, ", ")
}

// isThere takes what cannot be looked at for something.
func isThere(p source.Present) bool {
	there, err := p.Present()
	return there || err != nil
}

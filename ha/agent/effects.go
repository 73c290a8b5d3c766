package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/event"
)

// carryOut sets one effect going.
func (a *Agent) carryOut(ctx context.Context, e ha.Effect) {
	switch e := e.(type) {
	case ha.Save:
		a.save(e)
	case ha.Read:
		a.start(ctx, e.ID, func(ctx context.Context) ha.Done { return a.read(ctx, e) })
	case ha.Write:
		a.startStep(ctx, string(e.Step), e.ID, func(ctx context.Context) ha.Done { return a.write(ctx, e) })
	case ha.StartApp:
		a.startStep(ctx, "application.start", e.ID, func(ctx context.Context) ha.Done { return failed(a.app.Start(ctx, e)) })
	case ha.StopApp:
		a.startStep(ctx, "application.stop", e.ID, func(ctx context.Context) ha.Done {
			unstopped, err := a.app.Stop(ctx, e)
			d := failed(err)
			d.Unstopped = unstopped
			return d
		})
	case ha.MakeBackup:
		a.startStep(ctx, "backup", e.ID, func(ctx context.Context) ha.Done { return made(a.maker.Backup(ctx, e)) })
	case ha.MakeSalvage:
		a.startStep(ctx, "salvage", e.ID, func(ctx context.Context) ha.Done { return made(a.maker.Salvage(ctx, e)) })
	case ha.Pull:
		a.startStep(ctx, "pull", e.ID, func(ctx context.Context) ha.Done { return failed(a.cached.Pull(ctx, e.Ref)) })
	case ha.FindBackup:
		a.start(ctx, e.ID, func(ctx context.Context) ha.Done { return a.findBackup(ctx, e.Ref) })
	case ha.Rehearse:
		a.startStep(ctx, "rehearse", e.ID, func(ctx context.Context) ha.Done { return noted(a.stage.Rehearse(ctx, e.Ref)) })
	case ha.Unstage:
		a.startStep(ctx, "unstage", e.ID, func(ctx context.Context) ha.Done { return failed(a.stage.Drop(ctx)) })
	case ha.Stage:
		a.startStep(ctx, "stage", e.ID, func(ctx context.Context) ha.Done { return noted(a.stage.Restore(ctx, e.Ref, e.AllowFailed)) })
	case ha.Swap:
		a.startStep(ctx, "swap", e.ID, func(ctx context.Context) ha.Done { return noted(a.stage.SwapIn(ctx)) })
	case ha.Rollback:
		a.startStep(ctx, "rollback", e.ID, func(ctx context.Context) ha.Done { return failed(a.stage.RollBack(ctx)) })
	case ha.Discard:
		a.startStep(ctx, "discard", e.ID, func(ctx context.Context) ha.Done { return failed(a.stage.Finish(ctx)) })
	case ha.UseSources:
		a.start(ctx, e.ID, func(ctx context.Context) ha.Done { return failed(a.useSources(ctx)) })
	case ha.Survey:
		a.start(ctx, e.ID, func(ctx context.Context) ha.Done {
			all, err := a.sightings(ctx)
			d := failed(err)
			d.Sightings = all
			return d
		})
	case ha.Cancel:
		if cancel := a.running[e.ID]; cancel != nil {
			cancel()
		}
	case ha.Notify:
		a.notifier.notify(ctx, e)
	case ha.Answer:
		a.asking.Answer(e)
	case ha.Report:
		a.tell.Note(event.WithActor(ctx, e.By), level(e.Level), e.Kind, e.Text, nil)
	default:
		panic(fmt.Sprintf("agent: effect %T is not known", e))
	}
}

// start carries out an effect that takes time, and hands its Done to the loop.
func (a *Agent) start(ctx context.Context, id uint64, do func(context.Context) ha.Done) {
	ctx, cancel := context.WithCancel(ctx)
	a.running[id] = cancel
	a.effects.Go(func() {
		defer cancel()
		d := do(ctx)
		d.ID = id
		a.inbox.Post(d)
	})
}

// failed is the Done of work that either happened or did not.
func failed(err error) ha.Done {
	if err != nil {
		return ha.Done{Outcome: ha.Failed, Err: err}
	}
	return ha.Done{}
}

// noted is the Done of such work with a note, for people.
func noted(note string, err error) ha.Done {
	d := failed(err)
	d.Note = note
	return d
}

// made is the Done of a backup; nil: there was nothing to keep.
func made(ref *backup.Ref, changed bool, err error) ha.Done {
	d := failed(err)
	d.Ref, d.Changed = ref, changed
	return d
}

func (a *Agent) read(ctx context.Context, e ha.Read) ha.Done {
	if err := a.admission.Await(ctx); err != nil {
		return ha.Done{Outcome: ha.Unknown, Err: err}
	}
	object, attrs, err := a.control.Read(ctx, e.Kind, e.Key, e.IfChanged)
	if e.Kind == ha.KindLease {
		a.objects.TellLease(ctx, err)
	}
	return ha.Done{Outcome: control.ReadOutcome(err), Object: object, Token: attrs.Token, Err: err}
}

func (a *Agent) findBackup(ctx context.Context, ref backup.Ref) ha.Done {
	if err := a.admission.Await(ctx); err != nil {
		return ha.Done{Outcome: ha.Unknown, Err: err}
	}
	_, err := a.cfg.Store.Stat(ctx, ref.Key)
	return ha.Done{Outcome: control.ReadOutcome(err), Err: err}
}

func (a *Agent) write(ctx context.Context, e ha.Write) ha.Done {
	if err := a.admission.Await(ctx); err != nil {
		return ha.Done{Outcome: ha.Unknown, Err: err}
	}
	token, err := a.control.Write(ctx, e.Kind, e.Key, e.Object, e.Cond)
	switch {
	case err == nil:
		return ha.Done{Token: token}
	case errors.Is(err, blobstore.ErrPrecondition):
		return ha.Done{Outcome: ha.Lost, Err: err}
	case wroteNothing(err):
		return ha.Done{Outcome: ha.Failed, Err: err}
	}
	return ha.Done{Outcome: ha.Unknown, Err: err}
}

// wroteNothing reports whether a conditional write that failed has written
// nothing, and never will: that is what a store means by every kind of error but
// one.
func wroteNothing(err error) bool {
	store := (*blobstore.Error)(nil)
	return errors.As(err, &store) && !errors.Is(err, blobstore.ErrUnknownOutcome)
}

func level(l ha.Level) event.Level {
	switch l {
	case ha.Alarm:
		return event.Alarm
	case ha.Warn:
		return event.Warn
	}
	return event.Info
}

package agent

import (
	"context"
	"fmt"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/runner"
)

// work says how an effect is carried out, and carries out what takes no time.
func (a *Agent) work(ctx context.Context, e ha.Effect) runner.Work {
	switch e := e.(type) {
	case ha.Read:
		return step("", e.ID, func(ctx context.Context) ha.Done { return a.bucket.read(ctx, e) })
	case ha.Write:
		return step(string(e.Step), e.ID, func(ctx context.Context) ha.Done { return a.bucket.write(ctx, e) })
	case ha.StartApp:
		return step("application.start", e.ID, func(ctx context.Context) ha.Done { return failed(a.app.Start(ctx, e)) })
	case ha.StopApp:
		return step("application.stop", e.ID, func(ctx context.Context) ha.Done {
			unstopped, err := a.app.Stop(ctx, e)
			d := failed(err)
			d.Unstopped = unstopped
			return d
		})
	case ha.Checkpoint:
		return step("", e.ID, func(ctx context.Context) ha.Done {
			a.app.Checkpoint(ctx, e)
			return ha.Done{}
		})
	case ha.MakeBackup:
		return step("backup", e.ID, func(ctx context.Context) ha.Done { return made(a.maker.Backup(ctx, e)) })
	case ha.MakeSalvage:
		return step("salvage", e.ID, func(ctx context.Context) ha.Done { return a.salvage(ctx, e) })
	case ha.Pull:
		return step("pull", e.ID, func(ctx context.Context) ha.Done { return failed(a.cached.Pull(ctx, e.Ref)) })
	case ha.FindBackup:
		return step("", e.ID, func(ctx context.Context) ha.Done { return a.bucket.find(ctx, e.Ref) })
	case ha.Rehearse:
		return step("rehearse", e.ID, func(ctx context.Context) ha.Done { return noted(a.stage.Rehearse(ctx, e.Ref)) })
	case ha.Rejoin:
		return step("rejoin", e.ID, func(ctx context.Context) ha.Done { return a.rejoin(ctx, e) })
	case ha.Unstage:
		return step("unstage", e.ID, func(ctx context.Context) ha.Done { return failed(a.stage.Drop(ctx)) })
	case ha.Stage:
		return step("stage", e.ID, func(ctx context.Context) ha.Done { return a.restored(ctx, e) })
	case ha.Swap:
		return step("swap", e.ID, func(ctx context.Context) ha.Done { return noted(a.stage.SwapIn(ctx)) })
	case ha.Rollback:
		return step("rollback", e.ID, func(ctx context.Context) ha.Done { return failed(a.stage.RollBack(ctx)) })
	case ha.Discard:
		return step("discard", e.ID, func(ctx context.Context) ha.Done { return failed(a.stage.Finish(ctx)) })
	case ha.UseSources:
		return step("", e.ID, func(ctx context.Context) ha.Done { return failed(a.reloading.useSources(ctx)) })
	case ha.Survey:
		return step("", e.ID, func(ctx context.Context) ha.Done {
			all, err := a.sightings.Survey(ctx)
			d := failed(err)
			d.Sightings = all
			return d
		})
	case ha.CloseStreams:
		return step("streams.close", e.ID, func(ctx context.Context) ha.Done { return a.closeStreams(ctx, e) })
	case ha.EndStreams:
		return step("streams.end", e.ID, func(ctx context.Context) ha.Done { return a.endStreams(ctx, e) })
	case ha.PrepareStream:
		a.shipping.Prepare(e.Source)
	case ha.Ship:
		a.shipping.Ship(e.Source, e.Stream)
	case ha.ShipUntil:
		a.shipping.Until(e.Until)
	case ha.StopShipping:
		a.shipping.Stop()
	case ha.Notify:
		a.notifier.Notify(ctx, e)
	case ha.Answer:
		a.asking.Answer(e)
	case ha.Report:
		a.tell.Note(event.WithActor(ctx, e.By), level(e.Level), e.Kind, e.Text, nil)
	default:
		panic(fmt.Sprintf("agent: effect %T is not known", e))
	}
	return runner.Work{}
}

// step is work that takes time; a name makes it a durable step.
func step(name string, id uint64, do func(context.Context) ha.Done) runner.Work {
	return runner.Work{Step: name, ID: id, Do: do}
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

func level(l ha.Level) event.Level {
	switch l {
	case ha.Alarm:
		return event.Alarm
	case ha.Warn:
		return event.Warn
	}
	return event.Info
}

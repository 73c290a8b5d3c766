package staging

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
	"github.com/understudy-ha/understudy/ha"
)

func nothing() {}

// pass lets time go by on a test's own clock.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// What has passed its rehearsal is swapped in without another restore, and can be put
// back until it is finished.
func TestWhatIsRehearsedIsSwappedInAndBack(t *testing.T) {
	f := newFake(t)
	ctx := t.Context()
	if err := os.WriteFile(filepath.Join(f.live, "file"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	ref := f.backup("one")
	aside := 0
	s := f.open(func() { aside++ })
	if note, err := s.Rehearse(ctx, ref); err != nil || !strings.HasPrefix(note, "restored and verified") {
		t.Fatalf("%q, %v", note, err)
	}
	one, found := s.cfg.Rehearsals.Of(ref.ID)
	if id, read := s.Shown(); id != ref.ID || read == nil || !found || one.Result != ha.RehearsalPassed || one.Output != "the probe" || one.Bytes != 3 {
		t.Errorf("staged %q, attested %+v", id, one)
	}
	if note, err := s.Restore(ctx, ref, false, nil); err != nil || !strings.HasPrefix(note, "rehearsed") || f.probes != 1 {
		t.Errorf("%q, %v, probed %d times", note, err, f.probes)
	}
	for _, step := range []struct {
		do   func() error
		want string
	}{
		{func() error { _, err := s.SwapIn(ctx); return err }, "one"},
		{func() error { return s.RollBack(ctx) }, "mine"},
		{func() error { _, err := s.Restore(ctx, ref, false, nil); return err }, "mine"},
		{func() error { _, err := s.SwapIn(ctx); return err }, "one"},
		{func() error { return s.Finish(ctx) }, "one"},
	} {
		if err := step.do(); err != nil || f.has() != step.want {
			t.Fatalf("the file says %q, want %q; %v", f.has(), step.want, err)
		}
	}
	if id, _ := s.Shown(); id != "" || aside == 0 {
		t.Errorf("after the swap %q is staged; what was set aside was told of %d times", id, aside)
	}
}

// A rehearsal that fails is attested as that, and the last good stage takes its place.
func TestAFailedRehearsalLeavesTheLastGoodStage(t *testing.T) {
	f := newFake(t)
	s := f.open(nothing)
	good := f.backup("one")
	if _, err := s.Rehearse(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	bad := f.backup("two")
	f.verdict = errors.New("it does not start")
	if _, err := s.Rehearse(t.Context(), bad); err == nil || !strings.Contains(err.Error(), "it does not start: the probe") {
		t.Errorf("%v", err)
	}
	one, _ := s.cfg.Rehearsals.Of(bad.ID)
	if id, _ := s.Shown(); id != good.ID || one.Result != ha.RehearsalFailed || f.counted["failed"] != 1 || f.counted["rehearsal"] != 2 {
		t.Errorf("staged %q, attested %+v, counted %v", id, one, f.counted)
	}
	if _, err := s.Restore(t.Context(), bad, false, nil); err == nil {
		t.Error("what the probe does not like is restored")
	}
	if _, err := s.Restore(t.Context(), bad, true, nil); err != nil || !strings.Contains(strings.Join(f.noted, "\n"), "on an operator's word") {
		t.Errorf("on an operator's word: %v, noted %q", err, f.noted)
	}
	if one, _ := s.cfg.Rehearsals.Of(bad.ID); one.Result != ha.RehearsalFailed {
		t.Error("an operator's word makes a rehearsal good")
	}
}

// A rehearsal that made way for something else says nothing of its backup.
func TestARehearsalThatMakesWayAttestsNothing(t *testing.T) {
	f := newFake(t)
	s := f.open(nothing)
	ref := f.backup("one")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Rehearse(ctx, ref); err == nil {
		t.Error("it did not make way")
	}
	if _, found := s.cfg.Rehearsals.Of(ref.ID); found || f.counted["failed"] != 0 {
		t.Errorf("it is attested; counted %v", f.counted)
	}
}

// The next process knows what was rehearsed as long as it is staged.
func TestTheNextProcessKnowsWhatIsRehearsed(t *testing.T) {
	f := newFake(t)
	s := f.open(nothing)
	ref := f.backup("one")
	if _, err := s.Rehearse(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	begun := func(policy ha.RehearsalPolicy) ha.Rehearsed {
		t.Helper()
		rehearsed, swapped, err := f.open(nothing).Begun(policy)
		if err != nil || swapped {
			t.Fatal(swapped, err)
		}
		return rehearsed
	}
	if got := begun(ha.RehearsalPolicy{}); got != (ha.Rehearsed{Backup: ref.ID}) {
		t.Errorf("%+v", got)
	}
	if got := begun(ha.RehearsalPolicy{Off: true}); got != (ha.Rehearsed{}) {
		t.Errorf("of an instance that does not rehearse: %+v", got)
	}
	if err := s.Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := begun(ha.RehearsalPolicy{}); got != (ha.Rehearsed{}) {
		t.Errorf("of a stage that is gone: %+v", got)
	}
}

// What has rotted in the stage is a trouble, counted, and restored again.
func TestWhatHasRottedIsRestoredAgain(t *testing.T) {
	f := newFake(t)
	s := f.open(nothing)
	ref := f.backup("one")
	if _, err := s.Rehearse(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	f.core.Role = ha.RoleStandby
	r := NewReader(s, f)
	if next := r.Turn(t.Context()); next != rereadPause {
		t.Errorf("the next turn is due in %v", next)
	}
	if _, read := s.Shown(); read == nil || read.LastRead == nil || read.Files != 1 {
		t.Errorf("%+v", read)
	}
	stage := filepath.Join(filepath.Dir(f.live), ".app.understudy-staged")
	sourcetest.Rot(t, stage, "file")
	r.Turn(t.Context())
	if f.counted["rotten"] != 0 {
		t.Error("a stage that was just read is read again")
	}
	f.now.Mono += rereadRest
	if r.Turn(t.Context()); f.counted["rotten"] != 1 || f.counted["damaged"] != 1 || len(f.troubles) != 0 {
		t.Errorf("counted %v, troubles %q", f.counted, f.troubles)
	}
	if text, err := os.ReadFile(filepath.Join(stage, "file")); err != nil || string(text) != "one" {
		t.Errorf("%q, %v", text, err)
	}
}

// The reading of the stage ends when there is something else to do.
func TestTheReadingOfTheStageMakesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.core.Role = ha.RoleStandby
		r := NewReader(f.open(nothing), f)
		if f.pulling = true; r.Turn(t.Context()) != rereadAgain {
			t.Error("it is read while a backup is pulled")
		}
		f.pulling = false
		ctx, cancel := r.whileAtRest(t.Context())
		defer cancel()
		synctest.Wait()
		if ctx.Err() != nil {
			t.Fatal("the standby is not at rest")
		}
		f.core.Promotion = new(ha.Promotion)
		was := f.changed
		f.changed = make(chan struct{})
		close(was)
		<-ctx.Done()
	})
}

// What cannot be deleted is a trouble until it is gone, and is tried again.
func TestWhatCannotBeDeletedIsATroubleUntilItIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		tries := make(chan []source.Leftover) // what is left after each
		sweep := func(ctx context.Context) ([]source.Leftover, error) { return <-tries, nil }
		l := NewLeftovers(sweep, f, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.Run(ctx) }()
		busy := source.Leftover{Path: "/b", Bytes: -1, Reason: "busy"}
		tries <- []source.Leftover{{Path: "/a", Bytes: 1 << 20, Reason: "busy"}, busy}
		synctest.Wait()
		if keys := f.TroubleKeys("discard"); len(keys) != 2 || !strings.Contains(f.troubles["discard /a"], "(1.0 MiB)") {
			t.Errorf("troubles %q", f.troubles)
		}
		begun := time.Now()
		tries <- []source.Leftover{busy}
		synctest.Wait()
		if keys := f.TroubleKeys("discard"); !slices.Equal(keys, []string{"/b"}) || time.Since(begun) != clearFirst {
			t.Errorf("troubles of %q after %v", keys, time.Since(begun))
		}
		l.Soon()
		begun = time.Now()
		tries <- nil
		synctest.Wait()
		if keys := f.TroubleKeys("discard"); len(keys) != 0 || time.Since(begun) != 0 {
			t.Errorf("troubles of %q after %v", keys, time.Since(begun))
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// What an interrupted restore had replaced is named as long as it is there.
func TestWhatIsKeptIsNamedAsLongAsItIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		path := filepath.Join(t.TempDir(), "kept")
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := NoteKept(f, []string{path}, f.now.Wall); err != nil {
			t.Fatal(err)
		}
		k := NewKept(f, log{f}, func() []source.Source { return nil })
		go func() { _ = k.Run(t.Context()) }()
		synctest.Wait()
		if all := k.Texts(); len(all) != 1 || !strings.Contains(all[0], path) {
			t.Errorf("%q", all)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		pass(keptEvery)
		if all := k.Texts(); len(all) != 0 {
			t.Errorf("%q", all)
		}
	})
}

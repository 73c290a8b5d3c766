package storetest

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/understudy-ha/understudy/blobstore"
)

func TestFaultyConformsWithoutFaults(t *testing.T) {
	Run(t, func(*testing.T) blobstore.Store { return NewFaulty(NewMemory()) })
}

func TestFaultStrikesWhereAndWhenTold(t *testing.T) {
	f := NewFaulty(NewMemory())
	f.Inject(
		Fault{Op: Put, Key: "packs/**", After: 1, Times: 2, Do: Fail(blobstore.ErrUnavailable)},
		Fault{Op: Conditional, Key: "head.json", Do: Fail(blobstore.ErrPrecondition)},
	)
	steps := []struct {
		key  string
		cond blobstore.Condition
		want error
	}{
		{"head.json", blobstore.Always, nil},
		{"packs/aa/1", blobstore.Always, nil},
		{"packs/aa/2", blobstore.Always, blobstore.ErrUnavailable},
		{"packs", blobstore.Always, blobstore.ErrUnavailable}, // "packs/**" matches the folder itself
		{"packs/aa/3", blobstore.Always, nil},
		{"head.json", blobstore.IfAbsent(), blobstore.ErrPrecondition},
		{"head.json", blobstore.Always, nil},
	}
	for i, step := range steps {
		_, err := f.Put(t.Context(), step.key, nil, step.cond)
		if !errors.Is(err, step.want) || err != nil && !errors.Is(err, ErrInjected) {
			t.Errorf("step %d: put %s: %v, want %v", i, step.key, err, step.want)
		}
	}
	if got := f.Count(Put); got != len(steps) {
		t.Errorf("%d puts, want %d", got, len(steps))
	}
	if got := f.Count(Conditional); got != 1 {
		t.Errorf("%d conditional puts, want 1", got)
	}
	f.Inject(Fault{Times: Forever, Do: Fail(blobstore.ErrDenied)})
	for range 3 {
		if err := f.Delete(t.Context(), "k"); !errors.Is(err, blobstore.ErrDenied) {
			t.Errorf("delete: %v, want denied", err)
		}
	}
	f.Heal()
	if err := f.Delete(t.Context(), "k"); err != nil {
		t.Errorf("delete after healing: %v", err)
	}
}

func TestLostAnswerMeansDone(t *testing.T) {
	memory := NewMemory()
	f := NewFaulty(memory)
	f.Inject(Fault{Op: Put, Do: LoseAnswer()}, Fault{Op: Delete, Do: LoseAnswer()})
	_, err := f.Put(t.Context(), "k", []byte("x"), blobstore.IfAbsent())
	wantKind(t, "put", err, blobstore.ErrUnknownOutcome)
	if _, err := memory.Stat(t.Context(), "k"); err != nil {
		t.Errorf("the write did not land: %v", err)
	}
	wantKind(t, "delete", f.Delete(t.Context(), "k"), blobstore.ErrUnavailable)
	if keys := memory.Keys(); len(keys) > 0 {
		t.Errorf("store holds %q, want nothing", keys)
	}
}

func TestDelayedWriteLandsWhenReleased(t *testing.T) {
	f := NewFaulty(NewMemory())
	first := put(t, f, "head.json", "one")
	delay, held := Delay()
	f.Inject(Fault{Op: Conditional, Times: 2, Do: delay})
	for _, body := range []string{"two", "three"} {
		_, err := f.Put(t.Context(), "head.json", []byte(body), blobstore.IfMatch(first.Token))
		wantKind(t, "put "+body, err, blobstore.ErrUnknownOutcome)
	}
	body, _ := read(t, f, "head.json")
	wantBody(t, "before it lands", body, []byte("one"))
	if err := held.Land(t.Context()); err != nil {
		t.Errorf("land the first: %v", err)
	}
	body, _ = read(t, f, "head.json")
	wantBody(t, "after it landed", body, []byte("two"))
	wantKind(t, "land the second", held.Land(t.Context()), blobstore.ErrPrecondition)
	if err := held.Land(t.Context()); err == nil {
		t.Error("landed what was not held")
	}
}

func TestWaitingCallGoesOnOrEnds(t *testing.T) {
	f := NewFaulty(NewMemory())
	wait, gate := Wait()
	f.Inject(Fault{Op: Put, Times: 2, Do: wait})
	done := make(chan error)
	go func() {
		_, err := f.Put(t.Context(), "k", nil, blobstore.Always)
		done <- err
	}()
	<-gate.Arrived()
	_, err := f.Stat(t.Context(), "k")
	wantKind(t, "stat while the put waits", err, blobstore.ErrNotFound)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = f.Put(ctx, "other", nil, blobstore.Always)
	wantKind(t, "put with an ended context", err, context.Canceled)
	gate.Open()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := f.Stat(t.Context(), "k"); err != nil {
		t.Errorf("stat after the gate opened: %v", err)
	}
}

func TestBodiesBreakAndLie(t *testing.T) {
	f := NewFaulty(NewMemory())
	put(t, f, "k", "0123456789")
	f.Inject(Fault{Op: Get, Do: ShortBody(4)}, Fault{Op: Get, Do: CorruptBody(3)})
	short, _, err := readPart(t.Context(), f, "k", blobstore.GetOptions{})
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("short body: error %v, want unexpected EOF", err)
	}
	wantBody(t, "short body", short, []byte("0123"))
	corrupt, _, err := readPart(t.Context(), f, "k", blobstore.GetOptions{})
	if err != nil {
		t.Error(err)
	}
	wantBody(t, "corrupt body", corrupt, []byte("0122456789"))
}

func TestThenRunsBetweenWorkAndAnswer(t *testing.T) {
	memory := NewMemory()
	f := NewFaulty(memory)
	var seen []string
	f.Inject(Fault{Op: Put, Do: Then(func(error) { seen = memory.Keys() })})
	put(t, f, "k", "x")
	if len(seen) != 1 {
		t.Errorf("store held %q when the fault ran, want the new blob", seen)
	}
}

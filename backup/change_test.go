package backup

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/backup/source"
	_ "github.com/understudy-ha/understudy/backup/source/command" // the kind of what is dumped here
)

// output is a value of a kind that can become empty.
type output struct{ *value }

func (output) Kind() string { return "command" }

func (o output) Dump(ctx context.Context, w *pack.Writer, prev *source.Previous) (source.Entry, error) {
	e, err := o.value.Dump(ctx, w, prev)
	e.Kind = o.Kind()
	return e, err
}

func TestASourceThatIsNotWhereItWasIsNotPublished(t *testing.T) {
	w := newWorld(t)
	w.app.state = [][]byte{[]byte("one")}
	other := &value{name: "other", state: [][]byte{[]byte("two")}}
	first, _ := w.write(func(o *Order) { o.Sources = append(o.Sources, other) })
	gone := map[string]string{"app": "was here, is there", "other": "is away"}
	moved := func(o *Order) {
		o.Sources = append(o.Sources, other)
		o.Moved = func(_ context.Context, s source.Source, last source.Entry) ([]string, error) {
			if last.Name != s.Name() {
				t.Errorf("the entry of %s is %q", s.Name(), last.Name)
			}
			if text := gone[s.Name()]; text != "" {
				return []string{text}, nil
			}
			return nil, nil
		}
	}
	_, _, err := w.try(moved)
	var refused *ChangedError
	if !errors.As(err, &refused) || len(refused.Changes) != 2 {
		t.Fatalf("the error is %v", err)
	}
	for _, words := range []string{"source app: was here, is there", "source other: is away", "earlier backup stays the newest", "understudy backup --accept-change app other"} {
		if !strings.Contains(err.Error(), words) {
			t.Errorf("%q is not in %v", words, err)
		}
	}
	if w.store.counts["put backups"] > 0 {
		t.Errorf("it was published: %v", w.store.counts)
	}
	accept := func(names ...string) func(*Order) {
		return func(o *Order) { o.Accept = func(name string) bool { return slices.Contains(names, name) } }
	}
	if _, _, err := w.try(moved, accept("app")); !errors.As(err, &refused) || len(refused.Changes) != 1 || refused.Changes[0].Source != "other" {
		t.Errorf("with one of them confirmed: %v", err)
	}
	ref, m := w.write(moved, accept("app", "other"))
	if ref.ID == first.ID || !slices.Contains(m.Sources[1].Warnings, "is away") {
		t.Errorf("confirmed: %+v", m.Sources)
	}
	// It keeps whatever there is, and says what is wrong with it.
	w.app.state = [][]byte{[]byte("three")}
	ref, m = w.write(moved, func(o *Order) { o.Salvage, o.Trigger = true, Salvage })
	if !ref.IsSalvage() || !slices.Contains(m.Sources[0].Warnings, gone["app"]) {
		t.Errorf("salvage: %+v", m.Sources)
	}
}

func TestASourceThatMovesWhileItIsReadIsNotPublished(t *testing.T) {
	w := newWorld(t)
	w.app.state = [][]byte{[]byte("one")}
	w.write()
	asked := 0
	_, _, err := w.try(func(o *Order) {
		o.Moved = func(context.Context, source.Source, source.Entry) ([]string, error) {
			if asked++; asked > 1 {
				return []string{"is away"}, nil
			}
			return nil, nil
		}
	})
	if refused := (*ChangedError)(nil); !errors.As(err, &refused) {
		t.Errorf("the error is %v", err)
	}
}

// What it had is known of a backup that cannot be built on, too.
func TestASourceThatBecameEmptyIsNotPublished(t *testing.T) {
	w := newWorld(t)
	w.app.state = [][]byte{[]byte("one")}
	of := func(o *Order) { o.Sources = []source.Source{output{w.app}} }
	w.write(of)
	w.app.state = nil
	newKeys := func(o *Order) {
		keys, err := seal.NewDataKeys(rand.NewChaCha8([32]byte{7}))
		if err != nil {
			t.Fatal(err)
		}
		o.Keys = keys
	}
	for name, change := range map[string]func(*Order){"as ever": func(*Order) {}, "with new data keys": newKeys,
		"in full": func(o *Order) { o.Full, o.PreviousManifest = true, nil }} {
		_, _, err := w.try(of, change)
		if refused := (*ChangedError)(nil); !errors.As(err, &refused) {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
	w.write(of, func(o *Order) { o.Accept = func(string) bool { return true } })
	w.write(of) // it is empty, as it was
}

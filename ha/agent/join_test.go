package agent

import (
	"context"
	"errors"
	"testing"

	"github.com/understudy-ha/understudy/backup/source"
)

// refusing is a source that cannot be asked anything.
type refusing struct {
	source.Source
	there bool
	err   error
}

func (r *refusing) Name() string                       { return "db" }
func (r *refusing) Check(context.Context) error        { return errors.New("password authentication failed") }
func (r *refusing) CheckRestore(context.Context) error { return nil }
func (r *refusing) Present() (bool, error)             { return r.there, r.err }

// TestAStateThatCannotBeAskedIsTold: a promotion would replace it.
func TestAStateThatCannotBeAskedIsTold(t *testing.T) {
	for want, r := range map[string]*refusing{"db": {there: true}, "": {}} {
		if is := has(t.Context(), []source.Source{r}); is != want {
			t.Errorf("there: %v; this host has %q", r.there, is)
		}
	}
	if is := has(t.Context(), []source.Source{&refusing{err: errors.New("input/output error")}}); is != "db" {
		t.Errorf("what cannot be looked at is %q", is)
	}
}

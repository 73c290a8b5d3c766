package backup

import (
	"context"
	"fmt"
	"strings"

	"github.com/understudy-ha/understudy/backup/source"
)

// Change is that a source is not what it was when it was backed up last: it lies
// on another file system, or most of it is gone.
type Change struct {
	Source string `json:"source"`
	What   string `json:"what"`
}

// ChangedError means that sources have changed so much that a backup of them
// would push out, as the newest one, what is likely the right state. Nothing was
// written. An operator puts it right, or confirms it: see Order.Accept.
type ChangedError struct{ Changes []Change }

func (e *ChangedError) Error() string {
	all := make([]string, len(e.Changes))
	names := make([]string, len(e.Changes))
	for i, c := range e.Changes {
		all[i] = "source " + c.Source + ": " + c.What
		names[i] = c.Source
	}
	return strings.Join(all, "; ") + ". The earlier backup stays the newest. Put it right, or, if it is meant to be so, confirm it: understudy backup --accept-change " + strings.Join(names, " ")
}

// moved says what is different about the place of a source, and, where it is not
// going to be dumped, what is there now.
func (w *writing) moved(ctx context.Context, s source.Source) ([]string, error) {
	if w.o.Moved == nil {
		return nil, nil
	}
	last := w.tried.entry(s)
	found, err := w.o.Moved(ctx, s, last)
	if err != nil || len(found) == 0 || w.tolerates(s) {
		return found, err
	}
	held := source.Held(last)
	if held == "" {
		return found, nil
	}
	now, err := source.Holds(ctx, s)
	if err != nil {
		return nil, err
	}
	return append(found, fmt.Sprintf("had %s, has %s", held, now)), nil
}

// tolerates tells whether a source may have changed: an operator has confirmed
// it, or the backup keeps whatever there still is.
func (w *writing) tolerates(s source.Source) bool {
	return w.o.Salvage || w.o.Accept != nil && w.o.Accept(s.Name())
}

// changed looks at a source that was dumped. What is different is a warning
// where it is tolerated.
func (w *writing) changed(ctx context.Context, s source.Source, e *source.Entry) ([]string, error) {
	found, err := w.moved(ctx, s)
	if err != nil {
		return nil, err
	}
	if lost := source.Lost(w.tried.entry(s), *e); lost != "" {
		found = append(found, lost)
	}
	if len(found) > 0 && w.tolerates(s) {
		e.Warnings = append([]string{strings.Join(found, "; ")}, e.Warnings...)
		found = nil
	}
	return found, nil
}

// entry finds a source's entry in a manifest; a zero one where there is none.
func (m *Manifest) entry(s source.Source) source.Entry {
	if m != nil {
		for _, e := range m.Sources {
			if e.Name == s.Name() && e.Kind == s.Kind() {
				return e
			}
		}
	}
	return source.Entry{}
}

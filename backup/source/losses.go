package source

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/pack"
)

// Losses are what a restore could not bring back, or not in full. A context that
// has some makes Export go on past what fails; without, the first failure is the
// end. It is safe for concurrent use.
type Losses struct {
	// StopAtDamage makes content that is damaged, or missing, the end all the
	// same: another copy may have it.
	StopAtDamage bool

	mu    sync.Mutex
	total int
	first []Loss
}

// Loss is one of them.
type Loss struct {
	Source string `json:"source"`
	Path   string `json:"path,omitempty"` // within the source; empty: all of it
	What   string `json:"what"`           // "left out", or what was not set: "owner", "mode", "time", "attributes"
	Reason string `json:"reason"`
}

// String is for people.
func (l Loss) String() string {
	at := l.Source
	if l.Path != "" {
		at += "/" + l.Path
	}
	if l.What != LeftOut {
		return fmt.Sprintf("%s: %s not set: %s", at, l.What, l.Reason)
	}
	return fmt.Sprintf("%s: left out: %s", at, l.Reason)
}

// What a loss is of.
const (
	LeftOut      = "left out"
	OfOwner      = "owner"
	OfMode       = "mode"
	OfTime       = "time"
	OfAttributes = "attributes"
)

// maxLosses bounds what is kept of them; all are counted.
const maxLosses = 1000

type lossesKey struct{}

// WithLosses returns a context whose Export notes what fails, and goes on.
func WithLosses(ctx context.Context, l *Losses) context.Context {
	return context.WithValue(ctx, lossesKey{}, l)
}

// LossesOf returns what notes the losses of an export; nil: the first failure is the end.
func LossesOf(ctx context.Context) *Losses {
	l, _ := ctx.Value(lossesKey{}).(*Losses)
	return l
}

// Total is how many there are.
func (l *Losses) Total() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total
}

// First returns the first of them.
func (l *Losses) First() []Loss {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Loss{}, l.first...)
}

func (l *Losses) add(loss Loss) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total++; len(l.first) < maxLosses {
		l.first = append(l.first, loss)
	}
}

// Bears notes a loss, and tells whether the restore can go on.
func (l *Losses) Bears(loss Loss, err error) bool {
	switch {
	case l == nil:
		return false
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return false
	case loss.What != OfAttributes && (errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)), errors.Is(err, unix.EROFS):
		return false // nor would anything else succeed
	case l.StopAtDamage && errors.Is(err, pack.ErrCorrupt):
		return false
	}
	loss.Reason = reasonOf(err)
	l.add(loss)
	return true
}

// reasonOf is an error without the path, which the loss has.
func reasonOf(err error) string {
	var errno unix.Errno
	if errors.As(err, &errno) && !errors.Is(err, pack.ErrCorrupt) {
		return errno.Error()
	}
	return err.Error()
}

type unsetKey struct{}

// WithUnset returns a context whose stage goes without extended attributes that
// the file system does not take, and notes them: a promotion without them is
// better than none.
func WithUnset(ctx context.Context, l *Losses) context.Context {
	return context.WithValue(ctx, unsetKey{}, l)
}

// UnsetOf returns what notes the attributes that a stage goes without; nil: none may be missing.
func UnsetOf(ctx context.Context) *Losses {
	l, _ := ctx.Value(unsetKey{}).(*Losses)
	return l
}

// JudgeUnset reports what a stage goes without to the context's examination.
func JudgeUnset(ctx context.Context, unset *Losses) error {
	total := unset.Total()
	if total == 0 {
		return nil
	}
	first := unset.First()[0]
	return Judge(ctx, "", Findings{Unchecked: []string{fmt.Sprintf(
		"%d extended attributes (ACLs are such) cannot be set on this host's file system, which goes without them: %q (%s), …", total, first.Path, first.Reason)}})
}

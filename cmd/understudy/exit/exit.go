// Package exit has the program's exit codes, and the kinds of error that decide
// them.
package exit

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/agent"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/datadir"
	"github.com/understudy-ha/understudy/restore"
)

// Exit codes. They are part of the command line's contract.
const (
	Done        = 0
	Failed      = 1
	Usage       = 2
	Refused     = 3   // unsafe, or not in this role
	Bucket      = 4   // bucket or key
	Host        = 5   // doctor: something on this host
	Interrupted = 130 // by a signal
)

// Error kinds that only the command line has. Test with errors.Is.
var (
	ErrUsage   = errors.New("usage")
	ErrBucket  = errors.New("bucket or key problem")
	ErrRefused = errors.New("refused")
	ErrFailed  = errors.New("failed")
	ErrHost    = errors.New("a problem of this host")
)

// kindError is an error with its kind.
type kindError struct {
	kind error
	err  error
}

func (e *kindError) Error() string   { return e.err.Error() }
func (e *kindError) Unwrap() []error { return []error{e.kind, e.err} }

// With gives an error a kind that decides the exit code, without putting the
// kind's name into its text.
func With(kind, err error) error { return &kindError{kind: kind, err: err} }

// Usagef makes an error of the kind ErrUsage.
func Usagef(format string, args ...any) error {
	return With(ErrUsage, fmt.Errorf(format, args...))
}

// Refusedf makes an error of the kind ErrRefused.
func Refusedf(format string, args ...any) error {
	return With(ErrRefused, fmt.Errorf(format, args...))
}

// codes says which kinds of error end in which exit code. The first that fits
// decides: a kind that the command line gave comes before what caused it.
var codes = []struct {
	code  int
	kinds []error
}{
	{Usage, []error{ErrUsage, ha.ErrInvalid}},
	{Refused, []error{ErrRefused, datadir.ErrLocked, agent.ErrNotMember}},
	{Failed, []error{
		ErrFailed, control.ErrNoBackup, backup.ErrTampered, pack.ErrCorrupt, restore.ErrNotEmpty, restore.ErrNoSpace,
	}},
	{Host, []error{ErrHost}},
	{Bucket, append([]error{ErrBucket, control.ErrBucket, control.ErrUnverified}, keyProblems...)},
}

// keyProblems are what a wrong key, or a missing one, causes.
var keyProblems = []error{seal.ErrKey, seal.ErrUnknownKey, seal.ErrSignature, seal.ErrScope, seal.ErrSealed}

// IsKeyProblem reports whether a wrong key, or a missing one, is the cause of an
// error.
func IsKeyProblem(err error) bool {
	return slices.ContainsFunc(keyProblems, func(kind error) bool { return errors.Is(err, kind) })
}

// Code maps an error to the program's exit code. An error that came of the
// signal which ended ctx counts as interrupted, whatever else it is.
func Code(ctx context.Context, err error) int {
	switch {
	case err == nil:
		return Done
	case ctx.Err() != nil:
		return Interrupted
	case ha.IsRefusal(err):
		return Refused
	}
	for _, e := range codes {
		if slices.ContainsFunc(e.kinds, func(kind error) bool { return errors.Is(err, kind) }) {
			return e.code
		}
	}
	if store := (*blobstore.Error)(nil); errors.As(err, &store) {
		return Bucket
	}
	return Failed
}

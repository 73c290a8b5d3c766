package main

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
	"github.com/understudy-ha/understudy/restore"
)

// Exit codes. They are part of the command line's contract.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitRefused     = 3   // unsafe, or not in this role
	exitBucket      = 4   // bucket or key
	exitInterrupted = 130 // by a signal
)

// Error kinds that only the command line has. Test with errors.Is.
var (
	errUsage   = errors.New("usage")
	errBucket  = errors.New("bucket or key problem")
	errRefused = errors.New("refused")
	errFailed  = errors.New("failed")
)

// kindError gives an error a kind that decides the exit code, without putting
// the kind's name into its text.
type kindError struct {
	kind error
	err  error
}

func (e *kindError) Error() string   { return e.err.Error() }
func (e *kindError) Unwrap() []error { return []error{e.kind, e.err} }

func usagef(format string, args ...any) error {
	return &kindError{kind: errUsage, err: fmt.Errorf(format, args...)}
}

func refusedf(format string, args ...any) error {
	return &kindError{kind: errRefused, err: fmt.Errorf(format, args...)}
}

// exitKinds says which kinds of error end in which exit code. The first that
// fits decides: a kind that the command line gave comes before what caused it.
var exitKinds = []struct {
	code  int
	kinds []error
}{
	{exitUsage, []error{errUsage, ha.ErrInvalid}},
	{exitRefused, []error{errRefused, agent.ErrLocked, agent.ErrNotMember}},
	{exitFailed, []error{
		errFailed, control.ErrNoBackup, backup.ErrTampered, pack.ErrCorrupt, restore.ErrNotEmpty, restore.ErrNoSpace,
	}},
	{exitBucket, append([]error{errBucket, control.ErrBucket, control.ErrUnverified}, keyProblems...)},
}

// keyProblems are what a wrong key, or a missing one, causes.
var keyProblems = []error{seal.ErrKey, seal.ErrUnknownKey, seal.ErrSignature, seal.ErrScope, seal.ErrSealed}

func isKeyProblem(err error) bool {
	return slices.ContainsFunc(keyProblems, func(kind error) bool { return errors.Is(err, kind) })
}

// exitCode maps an error to the program's exit code. An error that came of the
// signal which ended ctx counts as interrupted, whatever else it is.
func exitCode(ctx context.Context, err error) int {
	switch {
	case err == nil:
		return exitDone
	case ctx.Err() != nil:
		return exitInterrupted
	case ha.IsRefusal(err):
		return exitRefused
	}
	for _, e := range exitKinds {
		if slices.ContainsFunc(e.kinds, func(kind error) bool { return errors.Is(err, kind) }) {
			return e.code
		}
	}
	if store := (*blobstore.Error)(nil); errors.As(err, &store) {
		return exitBucket
	}
	return exitFailed
}

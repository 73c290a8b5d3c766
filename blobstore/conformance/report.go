package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/understudy-ha/understudy/blobstore"
)

// ErrUnsafe marks a store that breaks a promise, as opposed to one that could
// not be asked.
var ErrUnsafe = errors.New("the store is not safe")

// Outcome is how a check went.
type Outcome string

// The outcomes. A promotion rests on no check that ends in a Warning.
const (
	OK      Outcome = "ok"
	Warning Outcome = "warning"
	Failed  Outcome = "failed"
)

// Check is what was found out of one thing. Names and the keys of Values are
// stable.
type Check struct {
	Name    string // such as "create-if-absent"
	Promise string // what the store must do, in words
	Outcome Outcome
	Detail  string // what was seen; of a failure also what would break, and what to do
	// Values are what was measured, if anything was, named with their units:
	// "median_seconds", "bytes_per_second".
	Values map[string]float64
	// Err is nil unless the check failed: ErrUnsafe when the store breaks the
	// promise, else why it could not be checked.
	Err error
}

// Broken reports whether the store was asked, and does not keep the promise.
func (c Check) Broken() bool { return c.Outcome == Failed && errors.Is(c.Err, ErrUnsafe) }

// Report is what was found out of a store, in a stable order.
type Report []Check

// Err says in one line what failed, or is nil. It is ErrUnsafe when the store
// breaks a promise, and names each that it breaks; else it wraps what kept the
// promises from being checked.
func (r Report) Err() error {
	var broken []string
	var unchecked *Check
	for i, c := range r {
		switch {
		case c.Outcome != Failed:
		case c.Broken():
			broken = append(broken, c.Name+": "+c.Detail)
		case unchecked == nil:
			unchecked = &r[i]
		}
	}
	switch {
	case len(broken) > 0:
		return fmt.Errorf("%w: it breaks %s", ErrUnsafe, strings.Join(broken, "; "))
	case unchecked != nil:
		return fmt.Errorf("check %s: %w", unchecked.Name, unchecked.Err)
	}
	return nil
}

// Broken names the promises that the store breaks.
func (r Report) Broken() []string {
	var names []string
	for _, c := range r {
		if c.Broken() {
			names = append(names, c.Name)
		}
	}
	return names
}

// failed gives the first check of one of the names that failed, or nil.
func (r Report) failed(names ...string) *Check {
	i := slices.IndexFunc(r, func(c Check) bool { return c.Outcome == Failed && slices.Contains(names, c.Name) })
	if i < 0 {
		return nil
	}
	return &r[i]
}

// hopeless reports whether the store does not answer at all.
func (c Check) hopeless() bool {
	return c.Outcome == Failed && (errors.Is(c.Err, blobstore.ErrUnavailable) || errors.Is(c.Err, context.DeadlineExceeded))
}

// finding is what a check's test found. Its error decides the outcome.
type finding struct {
	detail string
	values map[string]float64
}

func saw(format string, args ...any) (finding, error) {
	return finding{detail: fmt.Sprintf(format, args...)}, nil
}

// explainedError is a finding in words that help, of a kind: ErrUnsafe, errDoubt,
// or what the store answered.
type explainedError struct {
	text string
	kind error
}

func (e *explainedError) Error() string { return e.text }
func (e *explainedError) Unwrap() error { return e.kind }

// errDoubt marks what somebody should look at, though no promotion rests on it.
var errDoubt = errors.New("doubtful")

func brokenf(format string, args ...any) error {
	return &explainedError{fmt.Sprintf(format, args...), ErrUnsafe}
}

func doubtf(format string, args ...any) error {
	return &explainedError{fmt.Sprintf(format, args...), errDoubt}
}

// judge makes a check's outcome of what its test found.
func (c Check) judge(f finding, err error) Check {
	var explained *explainedError
	c.Outcome, c.Detail, c.Values = OK, f.detail, f.values
	switch {
	case err == nil:
		return c
	case errors.Is(err, errDoubt):
		c.Outcome, c.Detail = Warning, err.Error()
		return c
	case errors.As(err, &explained):
		c.Detail = explained.text
	default:
		c.Detail = "could not be checked: " + err.Error()
	}
	c.Outcome, c.Err = Failed, err
	return c
}

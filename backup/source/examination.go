package source

import (
	"context"
	"strings"
)

// Findings are what an examination of a source's state has found that the bytes
// alone do not show.
type Findings struct {
	// Damage is what is wrong with the state itself, although it is, byte for
	// byte, what was dumped.
	Damage []string `json:"damage,omitempty"`
	// Unchecked is what could not be looked at here, and what was found that is
	// no damage.
	Unchecked []string `json:"unchecked,omitempty"`
}

// maxFindings bounds each of the two.
const maxFindings = 20

// Empty tells whether nothing was found.
func (f *Findings) Empty() bool { return len(f.Damage)+len(f.Unchecked) == 0 }

// Add takes over what was found of a part of the source; "" for the whole.
func (f *Findings) Add(part string, other Findings) {
	f.Damage = addFindings(f.Damage, part, other.Damage)
	f.Unchecked = addFindings(f.Unchecked, part, other.Unchecked)
}

func addFindings(to []string, part string, found []string) []string {
	for _, text := range found {
		if part != "" {
			text = part + ": " + text
		}
		if len(to) < maxFindings {
			to = append(to, text)
		}
	}
	return to
}

// Examination goes with a Stage: it collects what the source finds out about the
// state that it stages. One Stage at a time uses it.
type Examination struct {
	// AllowDamage lets a damaged state be staged; otherwise Stage fails with a
	// DamageError.
	AllowDamage bool
	// Before is what was found of the stage that an Advance brings forward.
	Before *Findings
	Findings
}

type allowKey struct{}

// AllowDamage makes a Stage under the given context put up with a damaged state.
func AllowDamage(ctx context.Context) context.Context {
	return context.WithValue(ctx, allowKey{}, true)
}

// DamageAllowed tells whether the context is one of AllowDamage.
func DamageAllowed(ctx context.Context) bool { return ctx.Value(allowKey{}) != nil }

type examinationKey struct{}

// WithExamination returns a context whose Stage and Advance report to x.
func WithExamination(ctx context.Context, x *Examination) context.Context {
	return context.WithValue(ctx, examinationKey{}, x)
}

// Judge reports to the context's examination. Damage that is not allowed is the
// error.
func Judge(ctx context.Context, part string, f Findings) error {
	x, _ := ctx.Value(examinationKey{}).(*Examination)
	if x == nil {
		x = &Examination{}
	}
	x.Add(part, f)
	if len(f.Damage) > 0 && !x.AllowDamage {
		return &DamageError{Part: part, What: f.Damage[0]}
	}
	return nil
}

// JudgeAgain takes over what was found before of the parts that stay as they
// are.
func JudgeAgain(ctx context.Context, stays func(part string) bool) error {
	x, _ := ctx.Value(examinationKey{}).(*Examination)
	if x == nil || x.Before == nil {
		return nil
	}
	only := func(texts []string) (of []string) {
		for _, text := range texts {
			if part, _, ok := strings.Cut(text, ": "); ok && stays(part) {
				of = append(of, text)
			}
		}
		return of
	}
	return Judge(ctx, "", Findings{Damage: only(x.Before.Damage), Unchecked: only(x.Before.Unchecked)})
}

// DamageError says that a state is damaged, although it is what was dumped: the
// live state was damaged at that time.
type DamageError struct {
	Part string // of the source; "" for the whole
	What string
}

// Error implements error.
func (e *DamageError) Error() string {
	what := "the database"
	if e.Part != "" {
		what += " " + e.Part
	}
	return what + " is damaged, and was so when it was backed up: " + e.What
}

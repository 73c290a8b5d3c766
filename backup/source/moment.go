package source

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/stream"
)

// Moments is what a kind can do whose dumps have a log in which each change has its time:
// a dump can be brought to any moment that the log has.
type Moments struct {
	// Recording is Recording.
	Recording func(e Entry) (Recording, bool)
	// Continues is Continues.
	Continues func(e Entry, begin json.RawMessage) bool
	// Log is LogFrom.
	Log func(ctx context.Context, r *pack.Reader, e Entry, from stream.Position, take func(at stream.Position, log []byte) error) error
	// Export is ExportMoment.
	Export func(ctx context.Context, r *pack.Reader, e Entry, at fsx.Place, m Moment) (Reached, error)
}

// Recording is what a dump has recorded: a base, and the log from there on.
type Recording struct {
	// Base names the base. Dumps of one base have beginnings of one log.
	Base string
	// Log names the log: it is the same for bases that lie in one log.
	Log string
	// Joins is where the log of the dump begins, if that is before the base: where the log of
	// the last dump with the base before ended. 0: it is not.
	Joins stream.Position
	// From is where the base is whole, and Since when it was, by the source's clock.
	From  stream.Position
	Since time.Time
	// To is where the log ends, and Until when the source was there.
	To    stream.Position
	Until time.Time
}

// Moment is what a dump is brought to.
type Moment struct {
	// Time is what it is brought to: every change up to and including it is there, and none
	// from the first later one on.
	Time time.Time
	// More hands over the log that comes after the dump's, in order, until take returns an
	// error, which it returns; nil: there is none.
	More func(ctx context.Context, from stream.Position, take func(at stream.Position, log []byte) error) error
}

// Reached says what a dump was brought to.
type Reached struct {
	Position string     `json:"position"`              // in the log, as the source writes it
	Last     *time.Time `json:"last_commit,omitempty"` // of the log that was applied to the base; nil: it has no commit
	// Later is the first change that was left out; nil: the log has none, and everything in
	// it is there.
	Later *time.Time `json:"first_later_commit,omitempty"`
}

// MomentStager is a Restorer whose stage can be of a moment.
type MomentStager interface {
	// StageMoment is Stage of a dump as it was at a moment.
	StageMoment(ctx context.Context, r *pack.Reader, e Entry, m Moment) (Reached, error)
}

// RecordingOf is what a dump has recorded; false: it can be brought back as it is alone.
func RecordingOf(e Entry) (Recording, bool) {
	if m := kinds[e.Kind].Moments; m != nil {
		return m.Recording(e)
	}
	return Recording{}, false
}

// Continues reports whether a stream that begins so is of the log of a dump.
func Continues(e Entry, begin json.RawMessage) bool {
	m := kinds[e.Kind].Moments
	return m != nil && m.Continues(e, begin)
}

// LogFrom hands over the log of a dump from a position on, in order, until take returns an
// error, which it returns.
func LogFrom(ctx context.Context, r *pack.Reader, e Entry, from stream.Position, take func(at stream.Position, log []byte) error) error {
	m := kinds[e.Kind].Moments
	if m == nil {
		return fmt.Errorf("a source of the kind %s has no log with times", e.Kind)
	}
	return m.Log(ctx, r, e, from, take)
}

// ExportMoment is ExportTo of a dump as it was at a moment.
func ExportMoment(ctx context.Context, r *pack.Reader, e Entry, at fsx.Place, m Moment) (reached Reached, err error) {
	of := kinds[e.Kind].Moments
	if of == nil {
		return reached, fmt.Errorf("a source of the kind %s has no log with times", e.Kind)
	}
	err = exportTo(ctx, e, at, func() error {
		reached, err = of.Export(ctx, r, e, at, m)
		return err
	})
	return reached, err
}

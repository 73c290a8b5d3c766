package stream

import (
	"errors"
	"fmt"
)

// Error kinds. Test with errors.Is; the errors that wrap them say which part, what is
// wrong with it, and what to do. Other kinds are those of package seal (ErrUnknownKey,
// ErrSignature, ErrScope: a part of another cluster, source, stream or place) and of
// package blobstore.
var (
	// ErrNotYet: there is no such part, or the bucket does not say so: S3 denies access
	// to what is not there to who may not list. Whoever knows by the head that the part
	// was written has lost it.
	ErrNotYet = errors.New("not there yet")
	// ErrDamaged: a part is not what was written: changed, or cut short.
	ErrDamaged = errors.New("damaged")
	// ErrFormat: a part is of a format that this program does not read.
	ErrFormat = errors.New("of a format that is not known here")
	// ErrBroken: a part is what was written, and does not go on where the one before
	// it ended: one between them is missing, or they were swapped.
	ErrBroken = errors.New("does not continue the stream")
	// ErrGone: the log from a position on is not in the stream: it has expired, was
	// deleted, or came before the stream.
	ErrGone = errors.New("is not in the bucket")
	// ErrBelow: a stream in the bucket ends before a part that was confirmed.
	ErrBelow = errors.New("ends before what was confirmed")
)

// EndedError says that a stream was ended: nothing is appended any more. Tip is the
// end part.
type EndedError struct {
	Source string
	Stream ID
	Tip    Tip
	End    End
}

func (e *EndedError) Error() string {
	by := "by the active itself"
	if e.End.Lease != "" {
		by = "by a promotion"
	}
	return fmt.Sprintf("stream %s of source %s was ended %s, with part %d", e.Stream, e.Source, by, e.Tip.Sequence)
}

// ForkedError says that another log than this host's lies where this host's was to be
// written: a clone of this host is at work, or its disk was put back.
type ForkedError struct {
	Source      string
	Stream      ID
	Tip         Tip    // the part that is there
	Incarnation string // of who wrote it
}

func (e *ForkedError) Error() string {
	return fmt.Sprintf("stream %s of source %s: part %d holds another log than this host has there (written by %s): a copy of this host is at work, or its disk was put back to an earlier state",
		e.Stream, e.Source, e.Tip.Sequence, e.Incarnation)
}

// AheadError says that a part is there already that begins with the log that was to be
// appended, and goes on: an earlier process of this host has shipped more. It may be
// adopted once this host's own log up to its end is at hand: append that.
type AheadError struct {
	Part Part
	Tip  Tip
}

func (e *AheadError) Error() string {
	return fmt.Sprintf("stream %s of source %s: part %d is there already, and holds more log than was to be appended",
		e.Part.Stream, e.Part.Source, e.Part.Sequence)
}

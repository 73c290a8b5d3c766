package report

import (
	"time"

	"github.com/understudy-ha/understudy/ha"
)

// Wait is a wait for somebody else.
type Wait struct {
	For string `json:"for"`
	// Seconds is for how much longer, at most; negative: that is not known.
	Seconds float64 `json:"seconds"`
	// Word says that the operator's word that the old active's host is off
	// (host_is_off) would spare it.
	Word bool `json:"word,omitempty"`
}

// String says it in one line, for people.
func (w *Wait) String() string {
	text := w.For
	if w.Seconds >= 0 {
		text += ", for " + Seconds(w.Seconds) + " at most"
	}
	return text
}

// WaitOf is a wait of the machine's, some time after it was told.
func WaitOf(w *ha.Wait, since time.Duration) *Wait {
	if w == nil {
		return nil
	}
	of := &Wait{For: w.For, Word: w.Word, Seconds: -1}
	if w.Left >= 0 {
		of.Seconds = max(0, w.Left-since).Seconds()
	}
	return of
}

package buckets

import (
	"errors"

	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/cmd/understudy/terminal"
)

// OlderHead is what this host knows of a bucket whose head is older than one that
// its instance has seen.
type OlderHead struct {
	text     string // "": nothing of the kind
	Accepted bool   // on an operator's word
}

// Text is what was told of such a head; "" where there is none.
func (o *OlderHead) Text() string { return o.text }

// Tell tells, once, of a head that is older than one that was seen.
func (o *OlderHead) Tell(p terminal.Printer, text string) {
	if o.text == "" && text != "" {
		o.text = text
		p.Warn("%s", text)
	}
}

// Refusal is why the newest backup of the bucket is not taken for the newest that
// there was.
func (o *OlderHead) Refusal(word string) error {
	if o.text == "" || o.Accepted {
		return nil
	}
	return exit.Refusedf("%s", o.why(word))
}

// Failure is Refusal for what was looked at already.
func (o *OlderHead) Failure() error {
	if o.text == "" {
		return nil
	}
	return exit.With(exit.ErrFailed, errors.New(o.why("verify a backup by its id")))
}

func (o *OlderHead) why(word string) string {
	return o.text + "; what it calls its newest backup may not be the newest that there was: " + word
}

package main

import (
	"errors"
	"io/fs"

	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/datadir"
)

// olderHead is what this host knows of a bucket whose head is older than one that
// its instance has seen.
type olderHead struct {
	text     string // "": nothing of the kind
	accepted bool   // on an operator's word
}

// compare has the heads that a command reads compared with what this host's
// instance has seen.
func (a *app) compare(bucket *control.Store) {
	journal, err := datadir.ReadJournal(a.set.DataDir)
	switch {
	case errors.Is(err, fs.ErrPermission):
		a.printer().note("the data folder %s cannot be read by this user: it is not looked whether the bucket shows an older head than this host's instance has seen", a.set.DataDir)
	case err != nil:
		a.printer().warn("this host's journal cannot be read, and nothing is compared with it: %v", err)
	case journal != nil && journal.Cluster == bucket.Cluster():
		bucket.CompareWith(journal.Seen, func(text string) error {
			a.tellOlder(text)
			return nil
		})
	}
}

// tellOlder tells, once, of a head that is older than one that was seen.
func (a *app) tellOlder(text string) {
	if a.older.text == "" && text != "" {
		a.older.text = text
		a.printer().warn("%s", text)
	}
}

// refusal is why the newest backup of the bucket is not taken for the newest that
// there was.
func (o *olderHead) refusal(word string) error {
	if o.text == "" || o.accepted {
		return nil
	}
	return exit.Refusedf("%s", o.why(word))
}

// failure is refusal for what was looked at already.
func (o *olderHead) failure() error {
	if o.text == "" {
		return nil
	}
	return exit.With(exit.ErrFailed, errors.New(o.why("verify a backup by its id")))
}

func (o *olderHead) why(word string) string {
	return o.text + "; what it calls its newest backup may not be the newest that there was: " + word
}

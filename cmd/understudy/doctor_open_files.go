package main

import (
	"context"

	"github.com/understudy-ha/understudy/backup/holder"
	"github.com/understudy-ha/understudy/backup/source"
)

// examineOpenFiles looks whether this user can see who has the sources' files
// open: a promotion looks before it replaces them.
func examineOpenFiles(ctx context.Context, sources []source.Source) finding {
	const name = "open files"
	var places []holder.Place
	for _, s := range sources {
		held, ok := s.(source.Openable)
		if !ok {
			continue
		}
		live, err := held.Live()
		if err != nil {
			continue // another check says so
		}
		places = append(places, live...)
	}
	found, err := holder.Find(ctx, places, nil)
	if err != nil || found.Blind == "" {
		return is(name, err, "who has a source's files open can be seen")
	}
	return finding{Name: name, Result: warning, Detail: found.Blind + "; an application that somebody started on a standby may go unseen"}
}

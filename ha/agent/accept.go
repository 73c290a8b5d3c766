package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/understudy-ha/understudy/ha/datadir"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/membership"
)

// AcceptHost accepts a data folder that was moved, or put back on purpose, and
// reports whether there was anything to accept. Who said so is in the log of events.
// No agent may be running on the data folder.
func AcceptHost(ctx context.Context, cfg Config) (accepted bool, err error) {
	cfg, err = cfg.complete()
	if err != nil {
		return false, err
	}
	dir, err := datadir.Open(ctx, cfg.DataDir)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	j, found, err := dir.LoadJournal()
	switch {
	case err != nil:
		return false, err
	case !found:
		return false, fmt.Errorf("%w: there is no data folder to accept in %s", ErrNotMember, dir.Path())
	case j.Doubt == "":
		return false, nil
	}
	j.Doubt = ""
	log, err := event.Open(dir.File(datadir.EventsFile), event.Options{Logger: cfg.Logger})
	if err != nil {
		return false, err
	}
	log.Add(ctx, event.Event{
		Time: cfg.Clock.Now().Wall, Level: event.Alarm, Kind: membership.IdentityKind, Instance: j.Instance,
		Text: "the data folder is accepted on this host, on the word that its original runs nowhere",
	})
	return true, errors.Join(dir.SaveJournal(j), log.Close())
}

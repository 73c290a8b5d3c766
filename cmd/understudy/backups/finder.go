// Package backups finds backups for the command line: their descriptions by the agent of
// this host or, where none runs, in the bucket; and copies to read in this host's cache
// or in the bucket.
package backups

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"

	"github.com/understudy-ha/understudy/cmd/understudy/agentclient"
	"github.com/understudy-ha/understudy/cmd/understudy/buckets"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/cmd/understudy/settings"
	"github.com/understudy-ha/understudy/cmd/understudy/terminal"
	"github.com/understudy-ha/understudy/ha/api"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/moments"
	"github.com/understudy-ha/understudy/ha/report"
)

// Finder finds backups.
type Finder struct {
	Set     *settings.Host
	Buckets buckets.Reader
	// Agent connects to the agent that the command is for.
	Agent func() (*agentclient.Client, error)
	Tell  terminal.Printer
}

// Most is how many backups the API lists at most.
const Most = 100_000

// List asks the agent, or, where none runs on this host, the bucket.
func (f *Finder) List(ctx context.Context, before string, limit int) (list control.BackupList, err error) {
	c, err := f.Agent()
	if err != nil {
		return list, err
	}
	err = c.Get(ctx, "/api/v1/backups?"+url.Values{"limit": {strconv.Itoa(limit)}, "before": {before}}.Encode(), &list)
	if !c.Instead(err) {
		return list, err
	}
	_, bucket, err := f.Buckets.Look(ctx)
	if err != nil {
		return list, err
	}
	return bucket.Chain().List(ctx, before, limit)
}

// Windows asks the agent, or, where none runs on this host, the bucket, to which moments
// sources can be brought.
func (f *Finder) Windows(ctx context.Context) ([]moments.Source, error) {
	c, err := f.Agent()
	if err != nil {
		return nil, err
	}
	var is api.Windows
	if err = c.Get(ctx, "/api/v1/windows", &is); !c.Instead(err) {
		return is.Sources, err
	}
	m, err := f.Moments(ctx)
	if err != nil {
		return nil, err
	}
	return m.Sources, nil
}

// goBack pages through a list to the backup that is so many before the newest, in the
// present chain.
func goBack(ctx context.Context, n int, list func(ctx context.Context, before string, limit int) (control.BackupList, error)) (string, error) {
	seen, before := 0, ""
	for {
		page, err := list(ctx, before, 0)
		if err != nil {
			return "", err
		}
		for _, b := range page.Backups {
			if b.Superseded || b.Salvage || b.Unlinked {
				continue
			}
			if seen == n {
				return b.ID, nil
			}
			seen++
		}
		if before = page.Next; before == "" {
			return "", tooFarBack(n, seen)
		}
	}
}

// NoBackup says that there is no backup with an id.
func NoBackup(id string) error {
	return exit.With(exit.ErrFailed, fmt.Errorf("no backup has the id %q; list them with: understudy backups", id))
}

// Find asks the agent, or, where none runs on this host, the bucket; ""
// is the newest.
func (f *Finder) Find(ctx context.Context, id string) (control.BackupInfo, error) {
	c, err := f.Agent()
	if err != nil {
		return control.BackupInfo{}, err
	}
	ask := id
	if ask == "" {
		var s report.Status
		switch err := c.Get(ctx, "/api/v1/status", &s); {
		case c.Instead(err):
			return f.findInBucket(ctx, id)
		case err != nil:
			return control.BackupInfo{}, err
		case s.LastBackup == nil && s.Bucket != "ok":
			return control.BackupInfo{}, exit.With(exit.ErrBucket, fmt.Errorf("which backup is the newest is not known: %s", s.Bucket))
		case s.LastBackup == nil:
			return control.BackupInfo{}, exit.Refusedf("the cluster has no backup yet")
		}
		ask = s.LastBackup.ID
	}
	var b control.BackupInfo
	err = c.Get(ctx, "/api/v1/backups/"+url.PathEscape(ask), &b)
	switch {
	case c.Instead(err):
		return f.findInBucket(ctx, id)
	case agentclient.NotThere(err):
		return b, NoBackup(ask)
	}
	return b, err
}

func (f *Finder) findInBucket(ctx context.Context, id string) (control.BackupInfo, error) {
	_, bucket, err := f.Buckets.Look(ctx)
	if err != nil {
		return control.BackupInfo{}, err
	}
	b, _, err := bucket.Chain().Find(ctx, id)
	if errors.Is(err, control.ErrNoBackup) {
		return b, NoBackup(id)
	}
	return b, err
}

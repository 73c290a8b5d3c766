package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha"
)

// BackupRequest asks for a one-off backup.
type BackupRequest struct {
	Reason  string         `json:"reason,omitempty" maxLength:"1000" doc:"for people"`
	Trigger backup.Trigger `json:"trigger,omitempty" enum:"request,task" default:"request" doc:"task: an application's task has completed"`
	Wait    bool           `json:"wait,omitempty" doc:"answer once the backup is published"`
	Full    bool           `json:"full,omitempty" doc:"read everything again, and refer to no pack of an earlier backup"`
	// AcceptChange confirms what Status.Changes says.
	AcceptChange []string `json:"accept_change,omitempty" maxItems:"1000" doc:"sources that have changed as they should, though most of them is gone, or they lie on another file system; *: all"`
}

// BackupAnswer is what came of a request for a backup.
type BackupAnswer struct {
	State    string     `json:"state" enum:"accepted,published"`
	ID       string     `json:"id,omitempty" doc:"of the backup, once it is published"`
	Epoch    uint64     `json:"epoch,omitempty"`
	Sequence uint64     `json:"sequence,omitempty"`
	Digest   string     `json:"digest,omitempty"`
	Time     *time.Time `json:"time,omitempty"`
}

type requestBackupInput struct{ Body *BackupRequest }

type requestBackupOutput struct {
	Status int
	Body   BackupAnswer
}

func (a *api) addRequests(r Requests, c changes) {
	o := operation("request-backup", http.MethodPost, "/api/v1/backups", "A one-off backup: the call that an application makes when a task completes",
		http.StatusConflict, http.StatusServiceUnavailable)
	o.DefaultStatus = http.StatusAccepted
	o.Responses["200"] = describe("The backup is published", content[BackupAnswer](a, "application/json"))
	register(a, o, func(ctx context.Context, in *requestBackupInput) (*requestBackupOutput, error) {
		return requestBackup(ctx, r, c, in)
	})
}

// AcceptRequest confirms that sources have changed as they should.
type AcceptRequest struct {
	Sources []string `json:"sources,omitempty" maxItems:"1000" doc:"their names; none: all that have changed"`
}

// AcceptAnswer is what was confirmed.
type AcceptAnswer struct {
	Accepted []backup.Change `json:"accepted"`
}

type acceptInput struct{ Body *AcceptRequest }

type acceptOutput struct{ Body AcceptAnswer }

// addSources adds the confirmation of what is in the status as changes.
func (a *api) addSources(c Changes) {
	register(a, actionOf("accept-changes", "/api/v1/sources/accept", "Confirm that sources have changed as they should: on the active the next backup takes them as they are, on a standby they are restored to where they lie now"),
		func(ctx context.Context, in *acceptInput) (*acceptOutput, error) {
			var req AcceptRequest
			if in.Body != nil {
				req = *in.Body
			}
			accepted, err := c.AcceptChanges(ctx, req.Sources)
			return &acceptOutput{AcceptAnswer{Accepted: append([]backup.Change{}, accepted...)}}, err
		})
}

// changes are confirmed with a request for a backup.
type changes struct {
	Changes
	instance Instance
}

// accept confirms changes for the backup that a request asks for.
func (c changes) accept(ctx context.Context, names []string) error {
	if len(names) == 0 || c.instance.Status().Role != ha.RoleActive {
		return nil // and another instance refuses the request
	}
	if slices.Contains(names, "*") {
		names = nil
	}
	_, err := c.AcceptChanges(ctx, names)
	return err
}

func requestBackup(ctx context.Context, r Requests, c changes, in *requestBackupInput) (*requestBackupOutput, error) {
	req := BackupRequest{Trigger: backup.Requested}
	if in.Body != nil {
		req = *in.Body
	}
	if err := c.accept(ctx, req.AcceptChange); err != nil {
		return nil, err
	}
	if req.Full {
		if err := r.RequireFull(ctx); err != nil {
			return nil, err
		}
	}
	if !req.Wait {
		err := r.BackupSoon(ctx, req.Trigger, req.Reason)
		return &requestBackupOutput{Status: http.StatusAccepted, Body: BackupAnswer{State: "accepted"}}, err
	}
	ref, err := r.Backup(ctx, req.Trigger, req.Reason)
	return &requestBackupOutput{Status: http.StatusOK, Body: BackupAnswer{
		State: "published", ID: ref.ID, Epoch: ref.Epoch, Sequence: ref.Sequence, Digest: ref.Digest, Time: &ref.Time,
	}}, err
}

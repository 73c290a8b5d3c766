package api

import (
	"context"
	"net/http"
	"time"

	"github.com/understudy-ha/understudy/backup"
)

// BackupRequest asks for a one-off backup.
type BackupRequest struct {
	Reason  string         `json:"reason,omitempty" maxLength:"1000" doc:"for people"`
	Trigger backup.Trigger `json:"trigger,omitempty" enum:"request,task" default:"request" doc:"task: an application's task has completed"`
	Wait    bool           `json:"wait,omitempty" doc:"answer once the backup is published"`
	Full    bool           `json:"full,omitempty" doc:"read everything again, and refer to no pack of an earlier backup"`
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

func (a *api) addBackups() {
	o := operation("request-backup", http.MethodPost, "/api/v1/backups", "A one-off backup: the call that an application makes when a task completes",
		http.StatusConflict, http.StatusServiceUnavailable)
	o.DefaultStatus = http.StatusAccepted
	o.Responses["200"] = describe("The backup is published", content[BackupAnswer](a, "application/json"))
	register(a, o, a.requestBackup)
}

func (a *api) requestBackup(ctx context.Context, in *requestBackupInput) (*requestBackupOutput, error) {
	req := BackupRequest{Trigger: backup.Requested}
	if in.Body != nil {
		req = *in.Body
	}
	if req.Full {
		if err := a.agent.RequireFull(ctx); err != nil {
			return nil, err
		}
	}
	if !req.Wait {
		err := a.agent.BackupSoon(ctx, req.Trigger, req.Reason)
		return &requestBackupOutput{Status: http.StatusAccepted, Body: BackupAnswer{State: "accepted"}}, err
	}
	ref, err := a.agent.Backup(ctx, req.Trigger, req.Reason)
	return &requestBackupOutput{Status: http.StatusOK, Body: BackupAnswer{
		State: "published", ID: ref.ID, Epoch: ref.Epoch, Sequence: ref.Sequence, Digest: ref.Digest, Time: &ref.Time,
	}}, err
}

package api

import (
	"context"
	"net/http"

	"github.com/understudy-ha/understudy/ha/agent"
	"github.com/understudy-ha/understudy/ha/control"
)

// readingErrors are the statuses that whatever reads the bucket may have.
var readingErrors = []int{http.StatusServiceUnavailable, http.StatusInternalServerError}

type statusOutput struct{ Body agent.Status }

// Instances is the table of instances.
type Instances struct {
	Instances []agent.InstanceStatus `json:"instances" nullable:"false"`
}

type instancesOutput struct{ Body Instances }

type backupsInput struct {
	Limit  int    `query:"limit" minimum:"0" maximum:"100000" doc:"at most this many; 0: a default"`
	Before string `query:"before" maxLength:"256" doc:"only backups that come after the one with this id in the list: older ones. To go on, the next of an answer"`
}

type backupsOutput struct{ Body control.BackupList }

// VerifyRequest says how closely a backup is looked at.
type VerifyRequest struct {
	Deep bool `json:"deep,omitempty" doc:"read, decrypt and check every byte"`
}

// Verification is what a look at a backup found.
type Verification struct {
	OK     bool   `json:"ok" doc:"it can be restored"`
	Damage string `json:"damage,omitempty" doc:"what is wrong with it"`
}

type verifyInput struct {
	ID   string `path:"id" minLength:"1" maxLength:"256" doc:"a backup's id"`
	Body *VerifyRequest
}

type verifyOutput struct{ Body Verification }

// Lags is how far the standbys were behind.
type Lags struct {
	Samples []agent.LagSample `json:"samples" nullable:"false"`
}

type lagsOutput struct{ Body Lags }

type backupInput struct {
	ID string `path:"id" minLength:"1" maxLength:"256" doc:"a backup's id"`
}

type backupOutput struct{ Body control.BackupInfo }

// addReading adds what only reads.
func (a *api) addReading() {
	register(a, operation("get-status", http.MethodGet, "/api/v1/status", "What this instance knows of itself and of its cluster"),
		func(context.Context, *struct{}) (*statusOutput, error) {
			return &statusOutput{Body: a.agent.Status()}, nil
		})
	register(a, operation("list-instances", http.MethodGet, "/api/v1/instances", "The table of instances", readingErrors...),
		func(ctx context.Context, _ *struct{}) (*instancesOutput, error) {
			all, err := a.agent.Instances(ctx)
			return &instancesOutput{Body: Instances{Instances: notNil(all)}}, err
		})
	register(a, operation("list-backups", http.MethodGet, "/api/v1/backups", "What can be restored, newest first, a page at a time", readingErrors...),
		func(ctx context.Context, in *backupsInput) (*backupsOutput, error) {
			list, err := a.agent.BackupsAfter(ctx, in.Before, in.Limit)
			list.Backups = notNil(list.Backups)
			return &backupsOutput{Body: list}, err
		})
	register(a, operation("get-backup", http.MethodGet, "/api/v1/backups/{id}", "One backup", append(readingErrors, http.StatusNotFound)...),
		func(ctx context.Context, in *backupInput) (*backupOutput, error) {
			info, _, err := a.agent.BackupInfo(ctx, in.ID)
			return &backupOutput{Body: info}, err
		})
	register(a, operation("verify-backup", http.MethodPost, "/api/v1/backups/{id}/verify", "Check that a backup in the bucket can be restored",
		append(readingErrors, http.StatusNotFound, http.StatusConflict)...),
		func(ctx context.Context, in *verifyInput) (*verifyOutput, error) {
			damage, err := a.agent.Verify(ctx, in.ID, in.Body != nil && in.Body.Deep)
			return &verifyOutput{Body: Verification{OK: damage == "", Damage: damage}}, err
		})
	register(a, operation("list-lags", http.MethodGet, "/api/v1/lags", "How far the standbys were behind, a sample a minute, oldest first"),
		func(context.Context, *struct{}) (*lagsOutput, error) {
			return &lagsOutput{Body: Lags{Samples: notNil(a.agent.Lags())}}, nil
		})
}

type historyInput struct {
	Before string `query:"before" maxLength:"512" doc:"the next of the page before; empty: the newest events"`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"at most this many"`
}

type historyOutput struct{ Body control.ClusterHistory }

func (a *api) addHistory() {
	o := operation("get-history", http.MethodGet, "/api/v1/history", "What has happened to the cluster, newest first, a page at a time", readingErrors...)
	o.Description = "It is derived from the signed objects in the bucket, each verified, so it is the same on every instance."
	register(a, o, func(ctx context.Context, in *historyInput) (*historyOutput, error) {
		page, err := a.agent.ClusterHistory(ctx, in.Before, in.Limit)
		return &historyOutput{Body: page}, err
	})
}

// notNil makes a list that is an empty one in JSON, not null.
func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

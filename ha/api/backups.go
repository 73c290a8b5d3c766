package api

import (
	"context"
	"net/http"

	"github.com/understudy-ha/understudy/ha/control"
)

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

type backupInput struct {
	ID string `path:"id" minLength:"1" maxLength:"256" doc:"a backup's id"`
}

type backupOutput struct{ Body control.BackupInfo }

// addBackups adds what can be restored.
func (a *api) addBackups(b Backups) {
	register(a, operation("list-backups", http.MethodGet, "/api/v1/backups", "What can be restored, newest first, a page at a time", readingErrors...),
		func(ctx context.Context, in *backupsInput) (*backupsOutput, error) {
			list, err := b.BackupsAfter(ctx, in.Before, in.Limit)
			list.Backups = notNil(list.Backups)
			return &backupsOutput{Body: list}, err
		})
	register(a, operation("get-backup", http.MethodGet, "/api/v1/backups/{id}", "One backup", append(readingErrors, http.StatusNotFound)...),
		func(ctx context.Context, in *backupInput) (*backupOutput, error) {
			info, _, err := b.BackupInfo(ctx, in.ID)
			return &backupOutput{Body: info}, err
		})
	register(a, operation("verify-backup", http.MethodPost, "/api/v1/backups/{id}/verify", "Check that a backup in the bucket can be restored",
		append(readingErrors, http.StatusNotFound, http.StatusConflict)...),
		func(ctx context.Context, in *verifyInput) (*verifyOutput, error) {
			damage, err := b.Verify(ctx, in.ID, in.Body != nil && in.Body.Deep)
			return &verifyOutput{Body: Verification{OK: damage == "", Damage: damage}}, err
		})
}

package api

import (
	"context"
	"net/http"

	"github.com/understudy-ha/understudy/ha/catalogue"
)

type diffInput struct {
	ID   string `path:"id" minLength:"1" maxLength:"256" doc:"a backup's id"`
	Base string `query:"base" required:"true" minLength:"1" maxLength:"256" doc:"id of the backup to compare it with: what that has not counts as added"`
}

type diffOutput struct{ Body catalogue.BackupDiff }

func (a *api) addDiff(b Backups) {
	register(a, operation("compare-backups", http.MethodGet, "/api/v1/backups/{id}/diff", "In what a backup differs from another one, source by source",
		append(readingErrors, http.StatusNotFound, http.StatusConflict)...),
		func(ctx context.Context, in *diffInput) (*diffOutput, error) {
			d, err := b.Diff(ctx, in.Base, in.ID)
			d.Sources = notNil(d.Sources)
			return &diffOutput{Body: d}, err
		})
}

package api

import (
	"context"
	"net/http"

	"github.com/understudy-ha/understudy/ha/moments"
)

// Windows are the moments to which sources can be brought.
type Windows struct {
	Sources []moments.Source `json:"sources" nullable:"false" doc:"those whose log is in the bucket from a base on"`
}

type windowsOutput struct{ Body Windows }

// addWindows adds what logs reach.
func (a *api) addWindows(b Backups) {
	o := operation("list-windows", http.MethodGet, "/api/v1/windows", "To which moments sources can be brought, and the gaps between them", readingErrors...)
	o.Description = "It is read from the backups of the present chain and from the streams in the bucket. Any moment within a window can be restored (understudy restore --time), and none within a gap."
	register(a, o, func(ctx context.Context, _ *struct{}) (*windowsOutput, error) {
		all, err := b.Windows(ctx)
		return &windowsOutput{Body: Windows{Sources: notNil(all)}}, err
	})
}

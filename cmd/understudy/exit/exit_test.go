package exit

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
)

func TestExitCodeFollowsTheErrorsKind(t *testing.T) {
	alive := context.Background()
	ended, cancel := context.WithCancel(alive)
	cancel()
	tests := map[string]struct {
		ctx  context.Context
		err  error
		want int
	}{
		"nothing":     {alive, nil, Done},
		"any error":   {alive, errors.New("x"), Failed},
		"usage":       {alive, fmt.Errorf("wrap: %w", Usagef("x")), Usage},
		"refusal":     {alive, fmt.Errorf("wrap: %w", &ha.Refusal{Reason: "x"}), Refused},
		"store":       {alive, fmt.Errorf("wrap: %w", &blobstore.Error{Op: "get", Key: "k", Kind: blobstore.ErrDenied}), Bucket},
		"unknown key": {alive, fmt.Errorf("wrap: %w", seal.ErrUnknownKey), Bucket},
		"signal":      {ended, errors.New("x"), Interrupted},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Code(tt.ctx, tt.err); got != tt.want {
				t.Errorf("exit code %d, want %d", got, tt.want)
			}
		})
	}
}

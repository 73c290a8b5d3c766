package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
)

func TestMemoryConforms(t *testing.T) {
	Run(t, func(*testing.T) blobstore.Store { return NewMemory() })
}

func TestMemoryKeepsVersions(t *testing.T) {
	RunVersions(t, &Memory{Versioned: true}, time.Microsecond)
	if _, err := blobstore.AsOf(t.Context(), new(Memory), time.Now()); !errors.Is(err, blobstore.ErrNoVersions) {
		t.Errorf("the past of a store without versions: %v", err)
	}
}

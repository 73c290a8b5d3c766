package storetest

import (
	"testing"

	"github.com/understudy-ha/understudy/blobstore"
)

func TestMemoryConforms(t *testing.T) {
	Run(t, func(*testing.T) blobstore.Store { return NewMemory() })
}

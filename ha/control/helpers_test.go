package control

import (
	"crypto/rand"
	"testing"

	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/backup/seal/sealtest"
)

func newRing(t testing.TB) *seal.Ring {
	t.Helper()
	return sealtest.NewRing(t, rand.Reader)
}

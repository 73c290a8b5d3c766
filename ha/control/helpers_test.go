package control

import (
	"crypto/rand"
	"testing"

	"github.com/understudy-ha/understudy/backup/seal"
)

func newRing(t *testing.T) *seal.Ring {
	t.Helper()
	key, err := seal.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := seal.NewRing(key)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

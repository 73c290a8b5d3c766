// Package sealtest has keys for tests.
package sealtest

import (
	"io"
	"testing"

	"github.com/understudy-ha/understudy/backup/seal"
)

// NewRing is a ring with one key, made of what random returns.
func NewRing(tb testing.TB, random io.Reader) *seal.Ring {
	tb.Helper()
	key, err := seal.Generate(random)
	if err != nil {
		tb.Fatal(err)
	}
	ring, err := seal.NewRing(key)
	if err != nil {
		tb.Fatal(err)
	}
	return ring
}

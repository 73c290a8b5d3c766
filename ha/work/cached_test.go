package work

import (
	"testing"

	"github.com/understudy-ha/understudy/backup"
)

// TestALookAtTheCacheThatTakesLongHidesNothing: what was pulled meanwhile stays known.
func TestALookAtTheCacheThatTakesLongHidesNothing(t *testing.T) {
	begun, goOn, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	var c Cached
	c.list = func() ([]backup.Ref, error) {
		close(begun)
		<-goOn
		return []backup.Ref{{ID: "old"}}, nil
	}
	go func() {
		defer close(done)
		c.List(t.Context())
	}()
	<-begun
	c.list = func() ([]backup.Ref, error) { return []backup.Ref{{ID: "new"}, {ID: "old"}}, nil }
	c.List(t.Context())
	close(goOn)
	<-done
	if !c.Has("new") {
		t.Errorf("known: %v", c.Refs())
	}
}

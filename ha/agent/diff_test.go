package agent

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/ha/control"
)

// TestTwoBackupsAreCompared by what the bucket has of them.
func TestTwoBackupsAreCompared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		defer c.stopAll()
		a := c.host("a")
		a.write("doc", "one")
		a.init()
		a.start()
		a.untilLeading()
		first := a.backup()
		a.write("doc", "more than one")
		a.write("new", "two")
		second := a.backup()
		d, err := a.agent.catalogue.Diff(t.Context(), first, second)
		if err != nil || d.Same || d.Error != "" || d.A.ID != first || d.B.ID != second || len(d.Sources) != 1 {
			t.Fatalf("%v: %+v", err, d)
		}
		if got := d.Sources[0]; got.Files.Added.Entries != 1 || got.Files.Changed.Entries != 1 || len(got.Changes) != 2 || got.Changes[0].Change != source.Changed && got.Changes[1].Change != source.Changed {
			t.Errorf("%+v", got)
		}
		if d, err = a.agent.catalogue.Diff(t.Context(), second, second); err != nil || !d.Same {
			t.Errorf("a backup differs from itself: %v %+v", err, d)
		}
		if _, err = a.agent.catalogue.Diff(t.Context(), first, "20200101T000000Z-e00000001-s00000009-abcdef01"); !errors.Is(err, control.ErrNoBackup) {
			t.Errorf("of one that is not there: %v", err)
		}
	})
}

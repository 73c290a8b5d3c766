package control

import (
	"fmt"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup"
)

// People see backups by when they were made: a salvage backup stands among
// those of its time, though its epoch has ended.
func TestTheListIsByTimeWhateverTheEpoch(t *testing.T) {
	at := func(minute int, epoch, sequence uint64) backup.Ref {
		when := time.Date(2026, 3, 1, 12, minute, 0, 0, time.UTC)
		return backup.Ref{ID: fmt.Sprintf("%s-e%08d-s%08d-00000000", when.Format("20060102T150405Z"), epoch, sequence), Epoch: epoch, Sequence: sequence, Time: when}
	}
	want := []backup.Ref{at(30, 2, 12), at(25, 1, 10), at(20, 2, 11), at(10, 2, 10), at(5, 1, 9)}
	got := []BackupInfo{{Ref: want[1]}, {Ref: want[4]}, {Ref: want[2]}, {Ref: want[0]}, {Ref: want[3]}}
	list := Page{limit: 4}.Cut(got)
	for i, b := range list.Backups {
		if b.ID != want[i].ID {
			t.Errorf("place %d: %s, want %s", i, b.ID, want[i].ID)
		}
	}
	if list.Next != want[3].ID {
		t.Errorf("next is %q", list.Next)
	}
}

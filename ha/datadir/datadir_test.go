package datadir

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/ha"
)

func TestWhatACrashLeftOfAFileBeingReplacedIsRemoved(t *testing.T) {
	path := t.TempDir()
	for _, name := range []string{".journal.json123", ".config.json456"} {
		if err := os.WriteFile(filepath.Join(path, name), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.SaveJournal(ha.Journal{Format: ha.Format, Instance: "host-a"}); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(path)
	if err != nil || len(entries) != 3 { // lock, journal and reserve
		t.Errorf("the folder holds %v, %v", entries, err)
	}
	if j, found, err := d.LoadJournal(); err != nil || !found || j.Instance != "host-a" {
		t.Errorf("the journal is %+v, %t, %v", j, found, err)
	}
}

func TestADataFolderThatEverybodyCanWriteToIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), dir); !errors.Is(err, ha.ErrInvalid) || !strings.Contains(err.Error(), "chmod o-w "+dir) {
		t.Errorf("opened: %v", err)
	}
	if err := os.Chmod(dir, 0o770); err != nil {
		t.Fatal(err)
	}
	d, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// TestALockThatIsHeldForAMomentIsWaitedFor: a program that a killed agent was just
// starting has it until that runs.
func TestALockThatIsHeldForAMomentIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := t.TempDir()
		held, err := Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), path); !errors.Is(err, ErrLocked) {
			t.Errorf("opened while another has it: %v", err)
		}
		time.AfterFunc(lockPatience/2, func() { _ = held.Close() })
		again, err := Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestWhatAMemberLeavesBehind: of a host that has left, nothing says that it is a member;
// what its swaps have kept, and its events, are still there.
func TestWhatAMemberLeavesBehind(t *testing.T) {
	d, err := Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := errors.Join(d.SaveJournal(ha.Journal{Format: ha.Format}), d.SaveConfig("digest", &ha.Config{})); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{RehearsalsFile, VolumesFile, KeptFile, EventsFile} { // there is no outbox
		if err := d.Save(name, []string{"something"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Forget(); err != nil {
		t.Fatal(err)
	}
	if j, err := ReadJournal(d.Path()); err != nil || j != nil {
		t.Errorf("the journal is %+v, %v", j, err)
	}
	if s := d.LoadConfig(); s.Config != nil {
		t.Errorf("the configuration is %+v", s)
	}
	var left []string
	entries, err := os.ReadDir(d.Path())
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if want := []string{EventsFile, KeptFile, "lock", reserveFile}; err != nil || !slices.Equal(left, want) {
		t.Errorf("left are %q, %v, not %q", left, err, want)
	}
}

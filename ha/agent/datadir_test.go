package agent

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/event"
)

func TestWhatACrashLeftOfAFileBeingReplacedIsRemoved(t *testing.T) {
	path := t.TempDir()
	for _, name := range []string{".journal.json123", ".config.json456"} {
		if err := os.WriteFile(filepath.Join(path, name), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d, err := openDataDir(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	if err := d.saveJournal(ha.Journal{Format: ha.Format, Instance: "host-a"}); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(path)
	if err != nil || len(entries) != 3 { // lock, journal and reserve
		t.Errorf("the folder holds %v, %v", entries, err)
	}
	if j, found, err := d.loadJournal(); err != nil || !found || j.Instance != "host-a" {
		t.Errorf("the journal is %+v, %t, %v", j, found, err)
	}
}

func TestADataFolderThatEverybodyCanWriteToIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := openDataDir(t.Context(), dir); !errors.Is(err, ha.ErrInvalid) || !strings.Contains(err.Error(), "chmod o-w "+dir) {
		t.Errorf("opened: %v", err)
	}
	if err := os.Chmod(dir, 0o770); err != nil {
		t.Fatal(err)
	}
	d, err := openDataDir(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.close(); err != nil {
		t.Error(err)
	}
}

// TestWhatAnAgentRemembersMayBeDamaged: it starts all the same, says what it has
// forgotten, and learns it again.
func TestWhatAnAgentRemembersMayBeDamaged(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, first := rehearsingHosts(t, c)
		for _, h := range []*host{a, b} {
			h.halt()
			for _, name := range []string{rehearsalsFile, volumesFile, keptFile, configFile} {
				if err := os.WriteFile(filepath.Join(h.data, name), []byte("{"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			h.start()
			h.tells(event.Alarm, "agent", "on which volumes the sources lay is not known any more")
			h.tells(event.Warn, "rehearsal", "is not known any more")
		}
		a.untilLeading()
		b.untilRehearsed(first)
		id := a.backup()
		b.untilRehearsed(id)
	})
}

// TestALockThatIsHeldForAMomentIsWaitedFor: a program that a killed agent was just
// starting has it until that runs.
func TestALockThatIsHeldForAMomentIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := t.TempDir()
		held, err := openDataDir(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := openDataDir(t.Context(), path); !errors.Is(err, ErrLocked) {
			t.Errorf("opened while another has it: %v", err)
		}
		time.AfterFunc(lockPatience/2, func() { _ = held.close() })
		again, err := openDataDir(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if err := again.close(); err != nil {
			t.Error(err)
		}
	})
}

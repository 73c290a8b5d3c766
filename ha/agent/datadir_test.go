package agent

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/ha"
)

func TestWhatACrashLeftOfAFileBeingReplacedIsRemoved(t *testing.T) {
	path := t.TempDir()
	for _, name := range []string{".journal.json123", ".config.json456"} {
		if err := os.WriteFile(filepath.Join(path, name), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d, err := openDataDir(path)
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
	if _, err := openDataDir(dir); !errors.Is(err, ha.ErrInvalid) || !strings.Contains(err.Error(), "chmod o-w "+dir) {
		t.Errorf("opened: %v", err)
	}
	if err := os.Chmod(dir, 0o770); err != nil {
		t.Fatal(err)
	}
	d, err := openDataDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.close(); err != nil {
		t.Error(err)
	}
}

package agent

import (
	"os"
	"path/filepath"
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

package source

import (
	"path/filepath"
	"testing"
	"time"
)

// A damaged live database in a directory likewise.
func TestADamagedDatabaseInADirectoryIsToldInTheBackup(t *testing.T) {
	tellsADamagedDatabase(t, time.Hour, func(path string, now func() time.Time) Source {
		d := newTestDirectory(t, filepath.Dir(path))
		d.cfg.Now = now
		return d
	})
}

package directory

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// A damaged live database in a directory likewise.
func TestADamagedDatabaseInADirectoryIsToldInTheBackup(t *testing.T) {
	sourcetest.TellsADamagedDatabase(t, time.Hour, func(path string, now func() time.Time) source.Source {
		d := newTestDirectory(t, filepath.Dir(path))
		d.cfg.Now = now
		return d
	})
}

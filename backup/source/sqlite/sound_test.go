package sqlite

import (
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// A damaged live database is told in the backup until it is mended, and once an hour
// at the most it is looked for.
func TestADamagedLiveDatabaseIsToldInTheBackup(t *testing.T) {
	sourcetest.TellsADamagedDatabase(t, soundEvery, func(path string, now func() time.Time) source.Source {
		s := newSQLite(t, path)
		s.now = now
		return s
	})
}

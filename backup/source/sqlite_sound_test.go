package source

import (
	"testing"
	"time"
)

// A damaged live database is told in the backup until it is mended, and once an hour
// at the most it is looked for.
func TestADamagedLiveDatabaseIsToldInTheBackup(t *testing.T) {
	tellsADamagedDatabase(t, soundEvery, func(path string, now func() time.Time) Source {
		s := newSQLite(t, path)
		s.cfg.Now = now
		return s
	})
}

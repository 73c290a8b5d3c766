package sqlite

import (
	"testing"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

func TestABlankHostGetsTheFoldersAboveADatabase(t *testing.T) {
	sourcetest.GetsTheFoldersAbove(t, sourcetest.NewBlank(t, "bank.db", func(path string) {
		sourcetest.Must(t, sourcetest.NewBank(t, path, "wal", 3).Close())
	}, func(path string) source.Source { return newSQLite(t, path) }))
}

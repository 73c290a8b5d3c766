package source

import (
	"testing"
)

func TestABlankHostGetsTheFoldersAboveADatabase(t *testing.T) {
	getsTheFoldersAbove(t, newBlank(t, "bank.db", func(path string) {
		must(t, newBank(t, path, "wal", 3).Close())
	}, func(path string) Source { return newSQLite(t, path) }))
}

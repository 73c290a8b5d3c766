package sample

import (
	"os"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/e2e/server"
)

func TestPostgresHoldsTheTableToo(t *testing.T) {
	dsn := server.Postgres(t).DSN("postgres")
	flags := []string{"--postgres", dsn, "--files=false"}
	dir := started(t, flags...)
	await(t, "there are 20 rows", func() bool { return count(t, dir).Rows >= 20 })
	f, code := found(t, dir, flags...)
	if code != 0 || !f.OK || f.Rows < 20 || f.Files != 0 || f.Ledger.Missing != 0 {
		t.Errorf("while it runs, check: exit %d, %+v, ledger %+v", code, f, f.Ledger)
	}
	mustSample(t, dir, append([]string{"stop"}, flags...)...)

	if err := os.WriteFile(dir+"/ledger", []byte("1 "+strings.Repeat("0", 64)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if f, _ := found(t, dir, flags...); f.Ledger.Missing != 1 {
		t.Errorf("a commit with another digest counts as there: %+v", f.Ledger)
	}
}

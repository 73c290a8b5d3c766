package restore

import (
	"database/sql"
	"errors"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/source"
)

// What was damaged when it was backed up is staged on an operator's word alone.
// The word counts once: without it the stage is none, though it is there.
func TestADamagedDatabaseIsStagedOnAWordAlone(t *testing.T) {
	cl := newCluster(t)
	active, standby := newApp(t), newApp(t)
	active.set(t, "new")
	standby.set(t, "old")
	active.sql(t, func(db *sql.DB) error {
		db.SetMaxOpenConns(1)
		_, err := db.ExecContext(t.Context(), `CREATE TABLE u (x INT, y INT); CREATE INDEX i ON u (x); INSERT INTO u VALUES (1, 2);
			PRAGMA writable_schema = on; UPDATE sqlite_schema SET sql = 'CREATE INDEX i ON u (y)' WHERE name = 'i'`)
		return err
	})
	ref := cl.writeApp(t, active)
	m, err := cl.repo.Load(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	r, _, err := cl.repo.Open(t.Context(), m, cl.repo.BucketPacks())
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSwapper(t.TempDir(), standby.sources(t))
	if err != nil {
		t.Fatal(err)
	}
	refused := func() {
		t.Helper()
		err := s.Stage(t.Context(), r, m, nil)
		if damage := (*source.DamageError)(nil); !errors.As(err, &damage) {
			t.Fatalf("staged without a word: %v", err)
		}
	}
	refused()
	allowed := AllowDamage(t.Context())
	if err := s.Stage(allowed, r, m, nil); err != nil {
		t.Fatal(err)
	}
	found, err := s.Found()
	if err != nil || len(found.Damage) != 1 || !strings.HasPrefix(found.Damage[0], "prefs: ") {
		t.Errorf("found %+v, %v", found, err)
	}
	if ready, err := s.Ready(t.Context(), m); ready || err != nil {
		t.Errorf("it is ready without a word: %v", err)
	}
	if ready, err := s.Ready(allowed, m); !ready || err != nil {
		t.Errorf("it is not ready with the word: %v", err)
	}
	refused()
	if err := errors.Join(s.Stage(allowed, r, m, nil), s.Swap(t.Context()), s.Finish(t.Context())); err != nil {
		t.Fatal(err)
	}
	standby.mustBe(t, "new")
}

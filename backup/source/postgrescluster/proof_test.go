package postgrescluster

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/polite"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/stage"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
	"github.com/understudy-ha/understudy/backup/stream"
)

// TestEachBaseIsRestoredOnce: a replica that is further than a backup has nothing of its base,
// and a rehearsal restores that beside it, where the replica goes on. A promotion does not wait
// for that.
func TestEachBaseIsRestoredOnce(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	anew := p.a.source(func(c *Config) { c.BaseEvery = 1 })
	p.follow(t)
	markStage(t, p.to)
	first := p.v.Prev.Entry
	rehearsal := func(ctx context.Context, e source.Entry) (source.Findings, error) {
		x := source.Examination{}
		err := p.to.Advance(source.WithExamination(polite.Context(ctx), &x), p.v.Reader(), first, e)
		return x.Findings, err
	}
	backup := func(row string) source.Entry {
		t.Helper()
		p.a.sql("INSERT INTO ledger VALUES (" + row + ")")
		e, _ := p.v.Backup(t, anew)
		p.a.sql("INSERT INTO ledger VALUES (" + row + "0)") // so that there is log behind it
		p.log.reaches(p.a)
		eventually(t, func() bool {
			at, ok, err := p.to.Followed(t.Context(), nil)
			return err == nil && ok && at >= stream.Position(factsIn(t, e).To)
		})
		return e
	}
	e := backup("1")
	if factsIn(t, e).Start == factsIn(t, first).Start {
		t.Fatal("it has the base of the backup before")
	}
	x := source.Examination{}
	sourcetest.Must(t, p.to.Advance(source.WithExamination(t.Context(), &x), p.v.Reader(), first, e)) // for a promotion
	if len(x.Unchecked) != 1 || x.Unchecked[0] != "base: nothing of it was restored here yet" {
		t.Errorf("of the base a promotion says %q", x.Unchecked)
	}
	if got := provenIn(t, p.to); got != factsIn(t, first).Start {
		t.Errorf("a promotion has restored the base at %s", got)
	}

	before, err := p.to.Fingerprint(t.Context())
	sourcetest.Must(t, err)
	damaged := e
	damaged.Extra = first.Extra // a log that does not go as far as it should
	if _, err := rehearsal(t.Context(), damaged); err == nil || !strings.Contains(err.Error(), "restore its base beside the replica") {
		t.Errorf("of a backup that cannot be restored: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	p.to.stager.free = func(string) (int64, error) { cancel(); return 1 << 40, nil }
	if _, err := rehearsal(ended, e); !errors.Is(err, context.Canceled) {
		t.Errorf("of a rehearsal that makes way: %v", err)
	}
	p.to.stager.free = func(string) (int64, error) { return 1 << 20, nil }
	found, err := rehearsal(t.Context(), e)
	if err != nil || len(found.Unchecked) != 1 || !strings.Contains(found.Unchecked[0], "base: it was not restored, for beside the replica 1.0 MiB are free") {
		t.Errorf("without room: %q, %v", found.Unchecked, err)
	}
	p.to.stager.free = freeAt
	if after, err := p.to.Fingerprint(t.Context()); err != nil || after != before || provenIn(t, p.to) != factsIn(t, first).Start {
		t.Errorf("the stage was %q and is %q, %v", before, after, err)
	}

	found, err = rehearsal(t.Context(), e)
	if err != nil || !found.Empty() || provenIn(t, p.to) != factsIn(t, e).Start {
		t.Errorf("of its base is known: %s, %q, %v", provenIn(t, p.to), found.Unchecked, err)
	}
	if !isMarked(t, p.to) {
		t.Error("the stage was built anew")
	}
	if left, _ := filepath.Glob(filepath.Join(p.b.dir, ".*proof*")); len(left) > 0 {
		t.Errorf("left are %q", left)
	}
	p.to.stager.free = func(string) (int64, error) { return 0, errors.New("it is looked at again") }
	if _, err := rehearsal(t.Context(), e); err != nil {
		t.Errorf("once more: %v", err)
	}
	if got, err := askReplica(t, p.to, "SELECT count(*) FROM ledger"); err != nil || got != "2" {
		t.Errorf("the replica has %s rows, %v", got, err)
	}
}

func provenIn(t *testing.T, src *Source) (at interface{ String() string }) {
	t.Helper()
	sourcetest.Must(t, src.place.at(func(x stage.Placement) error {
		n, err := readNote(x.At())
		at = n.Proven
		return err
	}))
	return at
}

// TestWhatIsLeftBesideAReplicaIsSwept: of a rehearsal whose process was killed.
func TestWhatIsLeftBesideAReplicaIsSwept(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	left := []string{".data.understudy-proof", "..data.understudy-proof.understudy-run"}
	for _, name := range left {
		sourcetest.Must(t, os.MkdirAll(filepath.Join(p.b.dir, name, "base"), 0o700))
	}
	_, err := p.to.Sweep(t.Context())
	sourcetest.Must(t, err)
	all, err := os.ReadDir(p.b.dir)
	sourcetest.Must(t, err)
	for _, entry := range all {
		if slices.Contains(left, entry.Name()) {
			t.Errorf("%s is left", entry.Name())
		}
	}
	if _, ok, err := p.to.Followed(t.Context(), nil); err != nil || !ok {
		t.Errorf("the stage: %t, %v", ok, err)
	}
}

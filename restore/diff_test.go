package restore

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/command"
	"github.com/understudy-ha/understudy/backup/source/directory"
)

// files makes a directory source of files by name and text.
func files(t *testing.T, name string, texts map[string]string) source.Source {
	t.Helper()
	dir := t.TempDir()
	for file, text := range texts {
		path := filepath.Join(dir, file)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Unix(1e9, 0), time.Unix(1e9, 0)); err != nil {
			t.Fatal(err)
		}
	}
	s, err := directory.New(name, directory.Config{Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// output makes a command source that prints a text.
func output(t *testing.T, name, text string) source.Source {
	t.Helper()
	s, err := command.New(name, command.Config{Dump: []string{"printf", "%s", text}, Restore: []string{"true"}, Scratch: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// side backs sources up, as one side of a comparison.
func (c *cluster) side(t *testing.T, sources ...source.Source) DiffSide {
	t.Helper()
	c.now = c.now.Add(time.Minute)
	order := backup.Order{
		Epoch: 1, Sequence: 1, Previous: c.last, Trigger: backup.Scheduled, Instance: "a", Version: "test",
		Keys: c.keys, Now: func() time.Time { return c.now }, Random: c.random, Sources: sources,
	}
	if c.last != nil {
		order.Sequence = c.last.Sequence + 1
	}
	ref, m, err := c.repo.Write(t.Context(), order)
	if err != nil {
		t.Fatal(err)
	}
	c.last = &ref
	return DiffSide{Repo: c.repo, Manifest: m, Packs: c.repo.BucketPacks()}
}

func TestBackupsAreComparedSourceBySource(t *testing.T) {
	c := newCluster(t)
	same := output(t, "same", "x")
	a := c.side(t, same, output(t, "queue", "one"), output(t, "old", ""), output(t, "kind", ""), files(t, "uploads", map[string]string{"f": "1", "g": "2", "h": "3"}))
	b := c.side(t, output(t, "new", ""), same, output(t, "queue", "once"), files(t, "kind", nil), files(t, "uploads", map[string]string{"h": "33"}))
	want := []SourceDiff{
		{Name: "new", Kind: "command", OnlyIn: "b"},
		{Name: "same", Kind: "command", Difference: source.Difference{Same: true}},
		{Name: "queue", Kind: "command", Difference: source.Difference{Bytes: &source.ByteDifference{SizeA: 3, SizeB: 4, First: 2}}},
		{Name: "kind", Kind: "directory", Difference: source.Difference{Notes: []string{"it is a command in A, and a directory in B"}}},
		{
			Name: "uploads", Kind: "directory",
			Difference: source.Difference{Files: &source.FileDifference{
				Removed: source.FileCount{Entries: 2, Bytes: 2}, Changed: source.FileCount{Entries: 1, Bytes: 2},
			}},
			Changes: []source.Change{
				{Change: source.Removed, Path: "f", Type: "file", SizeA: 1}, {Change: source.Removed, Path: "g", Type: "file", SizeA: 1},
			},
			Omitted: 1,
		},
		{Name: "old", Kind: "command", OnlyIn: "a"},
	}
	scratch := t.TempDir()
	var steps []string
	got, err := Diff(t.Context(), a, b, DiffOptions{Scratch: scratch, Limit: 2, Progress: func(p backup.Progress) {
		if len(steps) == 0 || steps[len(steps)-1] != p.Step {
			steps = append(steps, p.Step)
		}
	}})
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v %s", err, d)
	}
	if d := cmp.Diff([]string{"compare command queue", "compare directory uploads"}, steps); d != "" {
		t.Error(d)
	}
	if left := tree(t, scratch); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	got, err = Diff(t.Context(), a, b, DiffOptions{})
	if err != nil || len(got[4].Changes) != 3 || got[4].Omitted != 0 {
		t.Errorf("without a limit: %+v, %v", got[4], err)
	}
}

func TestEqualRootsAreNotReadToBeCompared(t *testing.T) {
	c := newCluster(t)
	queue, uploads := output(t, "queue", "x"), files(t, "uploads", map[string]string{"f": "1"})
	a, b := c.side(t, queue, uploads), c.side(t, queue, uploads)
	c.bucket.reads()
	got, err := Diff(t.Context(), a, b, DiffOptions{})
	if err != nil || !got[0].Same || !got[1].Same {
		t.Errorf("%+v %v", got, err)
	}
	if reads := c.bucket.reads(); len(reads) > 0 {
		t.Errorf("read %v", reads)
	}
}

func TestBackupsUnderDifferentDataKeysAreComparedByContent(t *testing.T) {
	c := newCluster(t)
	queue, uploads := output(t, "queue", "x"), files(t, "uploads", map[string]string{"f": "1", "g": "2"})
	a := c.side(t, queue, uploads)
	keys, err := seal.NewDataKeys(c.random)
	if err != nil {
		t.Fatal(err)
	}
	c.keys, c.last = keys, nil
	b := c.side(t, queue, uploads)
	got, err := Diff(t.Context(), a, b, DiffOptions{})
	if err != nil || !got[0].Same || !got[1].Same {
		t.Errorf("%+v %v", got, err)
	}
}

func TestASourceThatCannotBeComparedHidesNoOther(t *testing.T) {
	c := newCluster(t)
	a := c.side(t, &content{name: "odd", data: []byte("1")}, output(t, "queue", "one"))
	b := c.side(t, &content{name: "odd", data: []byte("2")}, output(t, "queue", "two"))
	got, err := Diff(t.Context(), a, b, DiffOptions{})
	if err == nil || len(got) != 2 || got[0].Error == "" || got[0].Same || got[1].Bytes == nil {
		t.Errorf("%+v %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Diff(ctx, a, b, DiffOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	c.bucket.spoil = func(key string) error {
		if strings.HasPrefix(key, "packs/") {
			return pack.ErrCorrupt
		}
		return nil
	}
	if got, err := Diff(t.Context(), a, b, DiffOptions{}); !errors.Is(err, pack.ErrCorrupt) || got[1].Error == "" {
		t.Errorf("a damaged pack: %+v %v", got, err)
	}
}

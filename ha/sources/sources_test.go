package sources

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/volume"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/restore"
)

// fake is a source, a folder of files, and a log.
type fake struct {
	source.Source
	name, kind string
	volumes    []volume.Volume
	at         string
	failure    error

	files    map[string][]byte
	noted    []string
	troubles map[string]string
}

func newFake() *fake {
	return &fake{
		name: "files", kind: "directory", volumes: []volume.Volume{{Path: "/data", Type: "ext4", UUID: "1"}},
		files: map[string][]byte{}, troubles: map[string]string{},
	}
}

func (f *fake) Name() string                             { return f.name }
func (f *fake) Kind() string                             { return f.kind }
func (f *fake) Volumes() ([]volume.Volume, error)        { return f.volumes, f.failure }
func (f *fake) Position(context.Context) (string, error) { return f.at, f.failure }

func (f *fake) Load(name string, v any) (bool, error) {
	data, found := f.files[name]
	if !found {
		return false, nil
	}
	return true, json.Unmarshal(data, v)
}

func (f *fake) Save(name string, v any) (err error) {
	f.files[name], err = json.Marshal(v)
	return err
}

func (f *fake) Note(_ context.Context, level event.Level, _, text string, _ map[string]any) {
	f.noted = append(f.noted, string(level)+" "+text)
}
func (f *fake) Trouble(_ context.Context, kind, key, text string) { f.troubles[kind+" "+key] = text }
func (f *fake) TroubleOver(_ context.Context, kind, key, _ string) {
	delete(f.troubles, kind+" "+key)
}
func (f *fake) Changed()                 {}
func (f *fake) inForce() []source.Source { return []source.Source{f} }

func (f *fake) open(t *testing.T) *Volumes {
	t.Helper()
	v, err := OpenVolumes(f)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Nothing is restored to another file system than the one that was learnt, in this
// process or an earlier one, until it is confirmed.
func TestNothingIsRestoredToAnotherFileSystem(t *testing.T) {
	f := newFake()
	v := f.open(t)
	if err := v.Settle(t.Context(), f); err != nil { // it is not known yet, and is from now on
		t.Fatal(err)
	}
	f.volumes = []volume.Volume{{Path: "/data", Type: "ext4", UUID: "2"}}
	for _, v := range []*Volumes{v, f.open(t)} {
		if err := v.Settle(t.Context(), f); !errors.Is(err, restore.ErrVolume) || !strings.Contains(err.Error(), "accept-change files") {
			t.Errorf("another file system: %v", err)
		}
	}
	if err := v.Learn(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	if err := f.open(t).Check(t.Context(), f); err != nil {
		t.Errorf("a confirmed one: %v", err)
	}
	f.kind, f.volumes[0].UUID = "sqlite", "3"
	if err := v.Check(t.Context(), f); err != nil {
		t.Errorf("another kind of source: %v", err)
	}
	f.failure = fs.ErrPermission
	if err := v.Check(t.Context(), f); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("a place that cannot be looked at: %v", err)
	}
}

// A damaged list is an error, and what is there now is taken for right.
func TestADamagedListOfVolumesIsSaidToBe(t *testing.T) {
	f := newFake()
	f.files["volumes.json"] = []byte("{")
	v, err := OpenVolumes(f)
	if err == nil {
		t.Fatal("a damaged list was read")
	}
	if err := v.Settle(t.Context(), f); err != nil {
		t.Error(err)
	}
}

// A change is a trouble from the backup that finds it to the one that does not. What an
// operator confirms on the active counts for one backup.
func TestAChangeIsATroubleUntilABackupDoesNotFindIt(t *testing.T) {
	f := newFake()
	c := NewChanges(f, f.open(t), f.inForce)
	refused := fmt.Errorf("make backup: %w", &backup.ChangedError{Changes: []backup.Change{{Source: "files", What: "it is empty"}}})
	c.Tell(t.Context(), f.inForce(), refused)
	if text := f.troubles["source change of files"]; !strings.Contains(text, "it is empty") || len(c.List()) != 1 {
		t.Errorf("troubles %q, changes %v", f.troubles, c.List())
	}
	c.Tell(t.Context(), f.inForce(), errors.New("the bucket does not answer"))
	if len(f.troubles) != 1 {
		t.Error("a backup that failed for another reason says that the source is well")
	}
	if _, err := c.Accept(t.Context(), []string{"nothing"}, true); err == nil || c.IsAccepted("files") {
		t.Errorf("an unknown source: %v", err)
	}
	if accepted, err := c.Accept(t.Context(), nil, true); err != nil || len(accepted) != 1 || !c.IsAccepted("files") || len(f.files) != 0 {
		t.Errorf("%v, %v; kept %q", accepted, err, f.files)
	}
	if len(f.noted) != 1 || !strings.HasPrefix(f.noted[0], "warn confirmed: source files") {
		t.Errorf("noted %q", f.noted)
	}
	c.Tell(t.Context(), f.inForce(), nil)
	if c.Spend(); len(f.troubles) != 0 || len(c.List()) != 0 || c.IsAccepted("files") {
		t.Errorf("troubles %q, changes %v", f.troubles, c.List())
	}
}

// On a standby what is confirmed is where the source lies now.
func TestAStandbyConfirmsWhereItsSourcesLie(t *testing.T) {
	f := newFake()
	v := f.open(t)
	if err := v.Learn(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	c := NewChanges(f, v, f.inForce)
	f.volumes = []volume.Volume{{Path: "/data", Type: "tmpfs"}}
	if c.Look(t.Context()); len(f.troubles) != 1 {
		t.Errorf("troubles %q", f.troubles)
	}
	if accepted, err := c.Accept(t.Context(), nil, false); err != nil || len(accepted) != 1 || c.IsAccepted("files") {
		t.Errorf("%v, %v", accepted, err)
	}
	if len(f.troubles) != 0 || f.open(t).Check(t.Context(), f) != nil {
		t.Errorf("troubles %q", f.troubles)
	}
}

// What a backup says against the live state is a trouble until one does not say so.
func TestADoubtIsATroubleUntilABackupDoesNotSayIt(t *testing.T) {
	f := newFake()
	d := NewDoubts(f, f.inForce)
	bad := backup.Manifest{Sources: []source.Entry{{Name: "files", Torn: []string{"a b", "2", "3", "4", "5", "6"}, Damaged: []string{"index"}}}}
	d.Tell(t.Context(), &bad)
	if text := f.troubles["state torn files"]; !strings.Contains(text, `"a b"`) || !strings.Contains(text, "and 1 more") {
		t.Errorf("troubles %q", f.troubles)
	}
	bad.Sources[0].Torn = nil
	if d.Tell(t.Context(), &bad); len(f.troubles) != 1 || f.troubles["state damaged files"] == "" {
		t.Errorf("troubles %q", f.troubles)
	}
	if d.Over(t.Context()); len(f.troubles) != 0 {
		t.Errorf("troubles %q", f.troubles)
	}
}

// A source that does not tell its position keeps no other from telling its own.
func TestASourceWithoutAPositionIsLeftOut(t *testing.T) {
	told, silent := newFake(), newFake()
	told.at, silent.name, silent.failure = "0/15", "db", errors.New("no server")
	all := Positions(t.Context(), []source.Source{silent, told}, slog.New(slog.DiscardHandler))
	if len(all) != 1 || all["files"] != "0/15" || !slices.Equal(Few([]string{"x"}), []string{"x"}) {
		t.Errorf("%v", all)
	}
}

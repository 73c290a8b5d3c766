package prometheus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/meta"
)

// Dump implements Source. The snapshot is removed in any outcome; one that a
// crash left behind is removed by the next Dump or Stage.
func (p *Source) Dump(ctx context.Context, w *pack.Writer, prev *source.Previous) (source.Entry, error) {
	e, err := p.dump(ctx, w, prev)
	if err != nil {
		return source.Entry{}, fmt.Errorf("dump %s: %w", p.name, err)
	}
	return e, nil
}

func (p *Source) dump(ctx context.Context, w *pack.Writer, prev *source.Previous) (e source.Entry, err error) {
	if err := p.snapshots.sweep(ctx); err != nil {
		return e, err
	}
	version, err := p.api.version(ctx)
	if err != nil {
		return e, err
	}
	path, err := p.snapshots.take(ctx)
	// A snapshot that stays keeps blocks on the disk which the server has
	// dropped, but it is no reason to be without a backup.
	defer func() {
		if failed := p.snapshots.sweep(ctx); failed != nil && err == nil {
			e.Warnings = append(e.Warnings, failed.Error())
		}
	}()
	if err != nil {
		return e, err
	}
	return p.dumpSnapshot(ctx, w, prev, path, version)
}

func (p *Source) dumpSnapshot(ctx context.Context, w *pack.Writer, prev *source.Previous, path, version string) (source.Entry, error) {
	if prev != nil && prev.Entry.Kind == p.Kind() {
		prev = &source.Previous{Entry: asDirectory(prev.Entry), Reader: prev.Reader}
	} else {
		prev = nil
	}
	e, err := p.snapshotTree(path).Dump(ctx, w, prev)
	if err != nil {
		return e, err
	}
	facts := Facts{Version: version}
	if err := json.Unmarshal(e.Facts, &facts.Facts); err != nil {
		return e, err
	}
	facts.Path = p.cfg.DataDir
	err = fsx.At(p.cfg.DataDir, func(at fsx.Place) (err error) {
		facts.Parents, err = meta.ParentsOf(at.Dir)
		return err
	})
	if err == nil {
		err = p.snapshots.count(&facts, filepath.Base(path))
	}
	if err != nil {
		return e, err
	}
	e.Kind = p.Kind()
	e.Facts, err = json.Marshal(facts)
	return e, err
}

// count reads what the blocks of a snapshot say.
func (s *snapshots) count(facts *Facts, name string) error {
	in, err := s.open()
	if err != nil {
		return err
	}
	defer in.Close()
	snapshot, err := in.OpenDir(name)
	if err != nil {
		return err
	}
	defer snapshot.Close()
	return facts.countBlocks(snapshot)
}

// snapshots are those of the server's that a dump takes, and removes again.
type snapshots struct {
	api interface { // as *api is
		makeSnapshot(ctx context.Context) (string, error)
	}
	scratch string
	dataDir string
	now     func() time.Time
	fault   func(step string) error // called after each step, in tests
}

// snapshotNote is kept on disk while there is a snapshot.
type snapshotNote struct {
	Begun time.Time `json:"begun"`
	Name  string    `json:"name,omitempty"` // empty: the server has not told it yet
}

func (s *snapshots) notePath() string { return filepath.Join(s.scratch, "snapshot.json") }
func (s *snapshots) dir() string      { return filepath.Join(s.dataDir, "snapshots") }

// take makes a snapshot, and returns its path.
func (s *snapshots) take(ctx context.Context) (string, error) {
	note := snapshotNote{Begun: s.now().UTC()}
	if err := s.note(note); err != nil {
		return "", err
	}
	name, err := s.api.makeSnapshot(ctx)
	if err != nil {
		return "", err
	}
	if err := s.fault("snapshot"); err != nil {
		return "", err
	}
	note.Name = name
	if err := s.note(note); err != nil {
		return "", err
	}
	path := filepath.Join(s.dir(), name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("the snapshot is not below data_dir, which must be this server's --storage.tsdb.path: %w", err)
	}
	return path, s.fault("noted")
}

func (s *snapshots) note(n snapshotNote) error {
	data, err := json.Marshal(n)
	if err != nil {
		return err
	}
	if err := fsx.MakeScratch(s.scratch); err != nil {
		return err
	}
	return fsx.ReplaceFile(s.notePath(), func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// snapshotDelay is how long after it was asked a server may begin a snapshot
// whose name it never told.
const snapshotDelay = 10 * time.Second

// sweep removes the snapshot that was noted, if any, and then the note. Others
// are a person's: of those whose name was not told, which have the time in it,
// only one that was begun just when it was asked for is taken.
func (s *snapshots) sweep(ctx context.Context) error {
	data, err := os.ReadFile(s.notePath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var n snapshotNote
	if err == nil {
		err = json.Unmarshal(data, &n)
	}
	if err == nil {
		err = s.remove(ctx, n)
	}
	if err != nil {
		return fmt.Errorf("remove the last snapshot from %s: %w", s.dir(), err)
	}
	return fsx.RemoveFiles(s.notePath())
}

func (s *snapshots) remove(ctx context.Context, n snapshotNote) error {
	in, err := s.open()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer in.Close()
	if n.Name != "" {
		return fsx.RemoveAll(ctx, in, n.Name)
	}
	names, err := in.Names()
	for _, name := range names {
		text, _, _ := strings.Cut(name, "-")
		at, bad := time.Parse("20060102T150405Z", text)
		if bad != nil || at.Before(n.Begun.Truncate(time.Second)) || at.After(n.Begun.Add(snapshotDelay)) {
			continue
		}
		err = errors.Join(err, fsx.RemoveAll(ctx, in, name))
	}
	return err
}

// open holds the folder of snapshots, which the server's user may replace.
func (s *snapshots) open() (in *fsx.Dir, err error) {
	err = fsx.At(s.dir(), func(at fsx.Place) error {
		if len(at.Missing) > 0 {
			return fs.ErrNotExist
		}
		in, err = at.Dir.OpenDir(at.Name)
		return err
	})
	return in, err
}

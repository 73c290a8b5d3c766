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
	if err := p.sweep(ctx); err != nil {
		return e, err
	}
	version, err := p.version(ctx)
	if err != nil {
		return e, err
	}
	path, err := p.snapshot(ctx)
	// A snapshot that stays keeps blocks on the disk which the server has
	// dropped, but it is no reason to be without a backup.
	defer func() {
		if failed := p.sweep(ctx); failed != nil && err == nil {
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
		err = p.count(&facts, filepath.Base(path))
	}
	if err != nil {
		return e, err
	}
	e.Kind = p.Kind()
	e.Facts, err = json.Marshal(facts)
	return e, err
}

// count reads what the blocks of a snapshot say.
func (p *Source) count(facts *Facts, name string) error {
	in, err := p.openSnapshots()
	if err != nil {
		return err
	}
	defer in.Close()
	snapshot, err := in.Folder(name)
	if err != nil {
		return err
	}
	defer snapshot.Close()
	return facts.countBlocks(snapshot)
}

// snapshotNote is kept on disk while there is a snapshot.
type snapshotNote struct {
	Begun time.Time `json:"begun"`
	Name  string    `json:"name,omitempty"` // empty: the server has not told it yet
}

func (p *Source) notePath() string  { return filepath.Join(p.cfg.Scratch, "snapshot.json") }
func (p *Source) snapshots() string { return filepath.Join(p.cfg.DataDir, "snapshots") }

// snapshot makes a snapshot, and gives its path.
func (p *Source) snapshot(ctx context.Context) (string, error) {
	note := snapshotNote{Begun: p.cfg.Now().UTC()}
	if err := p.takeNote(note); err != nil {
		return "", err
	}
	name, err := p.makeSnapshot(ctx)
	if err != nil {
		return "", err
	}
	if err := p.fault("snapshot"); err != nil {
		return "", err
	}
	note.Name = name
	if err := p.takeNote(note); err != nil {
		return "", err
	}
	path := filepath.Join(p.snapshots(), name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("the snapshot is not below data_dir, which must be this server's --storage.tsdb.path: %w", err)
	}
	return path, p.fault("noted")
}

func (p *Source) takeNote(n snapshotNote) error {
	data, err := json.Marshal(n)
	if err != nil {
		return err
	}
	if err := fsx.MakeScratch(p.cfg.Scratch); err != nil {
		return err
	}
	part := p.notePath() + ".part"
	err = fsx.WriteFile(part, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
	if err != nil {
		return err
	}
	return fsx.MoveFile(part, p.notePath())
}

// snapshotDelay is how long after it was asked a server may begin a snapshot
// whose name it never told.
const snapshotDelay = 10 * time.Second

// sweep removes the snapshot that was noted, if any, and then the note. Others
// are a person's: of those whose name was not told, which have the time in it,
// only one that was begun just when it was asked for is taken.
func (p *Source) sweep(ctx context.Context) error {
	data, err := os.ReadFile(p.notePath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var n snapshotNote
	if err == nil {
		err = json.Unmarshal(data, &n)
	}
	if err == nil {
		err = p.removeSnapshots(ctx, n)
	}
	if err != nil {
		return fmt.Errorf("remove the last snapshot from %s: %w", p.snapshots(), err)
	}
	return fsx.RemoveFiles(p.notePath())
}

func (p *Source) removeSnapshots(ctx context.Context, n snapshotNote) error {
	in, err := p.openSnapshots()
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

// openSnapshots holds the folder of snapshots, which the server's user may replace.
func (p *Source) openSnapshots() (in *fsx.Dir, err error) {
	err = fsx.At(p.snapshots(), func(at fsx.Place) error {
		if len(at.Missing) > 0 {
			return fs.ErrNotExist
		}
		in, err = at.Dir.Folder(at.Name)
		return err
	})
	return in, err
}

package datadir

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/ha"
)

// Dir is an instance's folder, locked. Once it is tidied its methods are safe for
// concurrent use, but ClearFolders.
type Dir struct {
	path    string
	lock    *flock.Flock
	reserve reserve
	host    stamp // this host, as far as it can be told from others
	hangs   bool  // a write to it has not ended: its lock is kept
	// moved is what stood in the place of folders when it was opened, and is to be told.
	moved []string
}

// ErrLocked means that another agent is using the data folder.
var ErrLocked = errors.New("the data folder is in use")

// A program that a killed agent was just starting has its lock for a moment.
const (
	lockPatience = time.Second
	lockEvery    = 50 * time.Millisecond
)

// tryLock locks a data folder, unless another process keeps it locked.
func (d *Dir) tryLock(ctx context.Context) (free bool, err error) {
	bounded, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	free, err = d.lock.TryLockContext(bounded, lockEvery)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return false, nil
	}
	return free, err
}

// Open makes the folder, locks it, and tidies it.
func Open(ctx context.Context, path string) (*Dir, error) {
	d, err := Lock(ctx, path)
	if err != nil {
		return nil, err
	}
	if err := d.Tidy(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// Lock makes the folder and locks it. In one that is there nothing is written.
func Lock(ctx context.Context, path string) (*Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make data folder: %w", err)
	}
	if err := refuseOpenToAll(path); err != nil {
		return nil, err
	}
	d := &Dir{path: path, lock: flock.New(filepath.Join(path, "lock")), host: thisHost()}
	free, err := d.tryLock(ctx)
	if err != nil {
		return nil, fmt.Errorf("lock data folder %s: %w", path, err)
	}
	if !free {
		return nil, fmt.Errorf("%w: another understudy process on this host is using %s: stop it first", ErrLocked, path)
	}
	d.reserve.path = d.File(reserveFile)
	return d, nil
}

// Tidy ends what a crash has left in the folder, and has room kept in reserve.
func (d *Dir) Tidy() (err error) {
	if err := d.sweep(); err != nil {
		return fmt.Errorf("tidy data folder: %w", err)
	}
	if d.moved, err = d.clearFolders(nil); err != nil {
		return err
	}
	d.reserve.keep()
	return nil
}

// refuseOpenToAll refuses a data folder in which every user of the host can put what
// an agent then follows, as root perhaps.
func refuseOpenToAll(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("look at data folder: %w", err)
	}
	if info.Mode()&(os.ModeSticky|0o002) == 0o002 { // a sticky one lets nobody replace what is another's
		return ha.Invalidf("every user of this host can write to the data folder %s (mode %#o): chmod o-w %s", path, info.Mode().Perm(), path)
	}
	return nil
}

// sweep removes what a crash left of files that were being replaced.
func (d *Dir) sweep() error {
	entries, err := os.ReadDir(d.path)
	for _, e := range entries {
		for _, name := range memberFiles {
			if strings.HasPrefix(e.Name(), "."+name) {
				err = errors.Join(err, os.Remove(d.File(e.Name())))
			}
		}
	}
	return err
}

// Close lets go of the folder, unless a write to it hangs.
func (d *Dir) Close() error {
	if d.hangs {
		return fmt.Errorf("close data folder: the disk of %s does not answer", d.path)
	}
	return d.lock.Close()
}

// Hang says that a write to the folder has not ended, and may not: its lock is kept.
func (d *Dir) Hang() { d.hangs = true }

// Path is where the folder is.
func (d *Dir) Path() string { return d.path }

// File is the path of what has this name in the folder.
func (d *Dir) File(name string) string { return filepath.Join(d.path, name) }

// What the folder has in it.
const (
	JournalFile    = "journal.json"
	configFile     = "config.json"
	RehearsalsFile = "rehearsals.json"
	OutboxFile     = "webhooks.json"
	VolumesFile    = "volumes.json"
	KeptFile       = "kept.json" // outlives the membership
	EventsFile     = "events.jsonl"
	reserveFile    = "reserve"
	CacheFolder    = "cache"
	SwapFolder     = "swap"
	HooksFolder    = "hooks"
	// ScratchFolder has a folder for each source, for its temporary data.
	ScratchFolder = "scratch"
)

// memberFiles are replaced while an instance is a member, and removed when it is none
// any more; the journal, which says that it is one, comes last.
var memberFiles = []string{RehearsalsFile, OutboxFile, VolumesFile, configFile, JournalFile}

// Forget removes what makes this host a member of a cluster.
func (d *Dir) Forget() (err error) {
	for _, name := range memberFiles {
		err = errors.Join(err, d.Remove(name))
	}
	return err
}

// SavedConfig is the configuration last in force, as it is kept on disk.
type SavedConfig struct {
	Digest string     `json:"digest"`
	Config *ha.Config `json:"config"`
}

// LoadConfig reads the configuration last in force; one that is damaged or
// missing is none.
func (d *Dir) LoadConfig() SavedConfig {
	var s SavedConfig
	if found, err := d.Load(configFile, &s); !found || err != nil || s.Config == nil {
		return SavedConfig{}
	}
	return s
}

// SaveConfig keeps the configuration in force.
func (d *Dir) SaveConfig(digest string, c *ha.Config) error {
	return d.Save(configFile, SavedConfig{Digest: digest, Config: c})
}

// Load reads a file; false when there is none.
func (d *Dir) Load(name string, v any) (bool, error) {
	data, err := os.ReadFile(d.File(name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		return false, fmt.Errorf("read %s: %w", d.File(name), err)
	}
	return true, nil
}

// Save replaces a file, atomically and durably.
func (d *Dir) Save(name string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", d.File(name), err)
	}
	return d.saveBy(name, func() error { return d.replace(name, append(data, '\n')) })
}

// saveBy has a file replaced, from what is kept in reserve where the disk is full.
func (d *Dir) saveBy(name string, replace func() error) error {
	err := replace()
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		d.reserve.spend()
		err = replace()
	} else if err == nil {
		d.reserve.keep()
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", d.File(name), err)
	}
	return nil
}

func (d *Dir) replace(name string, data []byte) error {
	if err := renameio.WriteFile(d.File(name), data, 0o600, renameio.WithTempDir(d.path)); err != nil {
		return err
	}
	return syncFolder(d.path)
}

// Remove removes a file, durably; a missing one is removed already.
func (d *Dir) Remove(name string) error {
	err := os.Remove(d.File(name))
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = syncFolder(d.path)
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", d.File(name), err)
	}
	return nil
}

func syncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// FindCache finds where the data folder at path has its restore.Cache; "" when
// there is none that this process may look into.
func FindCache(path string) (string, error) {
	folder := filepath.Join(path, CacheFolder)
	_, err := os.ReadDir(folder)
	switch {
	case err == nil:
		return folder, nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission), errors.Is(err, unix.ENOTDIR):
		return "", nil
	}
	return "", fmt.Errorf("look for the cache: %w", err)
}

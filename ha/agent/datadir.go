package agent

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

// dataDir is an instance's folder, locked.
type dataDir struct {
	path    string
	lock    *flock.Flock
	reserve reserve
	host    stamp // this host, as far as it can be told from others
	hangs   bool  // a write to it has not ended: its lock is kept
	// moved is what stood in the place of folders when it was opened, and is to be
	// told; the goroutine's that looks at these.
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
func (d *dataDir) tryLock(ctx context.Context) (free bool, err error) {
	bounded, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	free, err = d.lock.TryLockContext(bounded, lockEvery)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return false, nil
	}
	return free, err
}

// openDataDir makes the folder, locks it, and tidies it.
func openDataDir(ctx context.Context, path string) (*dataDir, error) {
	d, err := lockDataDir(ctx, path)
	if err != nil {
		return nil, err
	}
	if err := d.tidy(); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

// lockDataDir makes the folder and locks it. In one that is there nothing is written.
func lockDataDir(ctx context.Context, path string) (*dataDir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make data folder: %w", err)
	}
	if err := refuseOpenToAll(path); err != nil {
		return nil, err
	}
	d := &dataDir{path: path, lock: flock.New(filepath.Join(path, "lock")), host: thisHost()}
	free, err := d.tryLock(ctx)
	if err != nil {
		return nil, fmt.Errorf("lock data folder %s: %w", path, err)
	}
	if !free {
		return nil, fmt.Errorf("%w: another understudy process on this host is using %s: stop it first", ErrLocked, path)
	}
	d.reserve.path = d.file(reserveFile)
	return d, nil
}

// tidy ends what a crash has left in the folder, and has room kept in reserve.
func (d *dataDir) tidy() (err error) {
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
		return invalid("every user of this host can write to the data folder %s (mode %#o): chmod o-w %s", path, info.Mode().Perm(), path)
	}
	return nil
}

// sweep removes what a crash left of files that were being replaced.
func (d *dataDir) sweep() error {
	entries, err := os.ReadDir(d.path)
	for _, e := range entries {
		for _, name := range []string{journalFile, configFile, rehearsalsFile, outboxFile, volumesFile} {
			if strings.HasPrefix(e.Name(), "."+name) {
				err = errors.Join(err, os.Remove(d.file(e.Name())))
			}
		}
	}
	return err
}

func (d *dataDir) close() error {
	if d.hangs {
		return fmt.Errorf("close data folder: the disk of %s does not answer", d.path)
	}
	return d.lock.Close()
}

func (d *dataDir) file(name string) string { return filepath.Join(d.path, name) }

const (
	journalFile    = "journal.json"
	configFile     = "config.json"
	rehearsalsFile = "rehearsals.json"
	outboxFile     = "webhooks.json"
	volumesFile    = "volumes.json"
	eventsFile     = "events.jsonl"
	cacheFolder    = "cache"
	swapFolder     = "swap"
	reserveFile    = "reserve"
	hooksFolder    = "hooks"
	// ScratchFolder has a folder for each source, for its temporary data.
	ScratchFolder = "scratch"
)

// savedConfig is the configuration last in force, as it is kept on disk.
type savedConfig struct {
	Digest string     `json:"digest"`
	Config *ha.Config `json:"config"`
}

// loadConfig reads the configuration last in force; one that is damaged or
// missing is none.
func (d *dataDir) loadConfig() savedConfig {
	var s savedConfig
	if found, err := d.load(configFile, &s); !found || err != nil || s.Config == nil {
		return savedConfig{}
	}
	return s
}

func (d *dataDir) saveConfig(digest string, c *ha.Config) error {
	return d.save(configFile, savedConfig{Digest: digest, Config: c})
}

func (d *dataDir) load(name string, v any) (bool, error) {
	data, err := os.ReadFile(d.file(name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		return false, fmt.Errorf("read %s: %w", d.file(name), err)
	}
	return true, nil
}

// save replaces a file, atomically and durably.
func (d *dataDir) save(name string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", d.file(name), err)
	}
	return d.saveBy(name, func() error { return d.replace(name, append(data, '\n')) })
}

// saveBy has a file replaced, from what is kept in reserve where the disk is full.
func (d *dataDir) saveBy(name string, replace func() error) error {
	err := replace()
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		d.reserve.spend()
		err = replace()
	} else if err == nil {
		d.reserve.keep()
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", d.file(name), err)
	}
	return nil
}

func (d *dataDir) replace(name string, data []byte) error {
	if err := renameio.WriteFile(d.file(name), data, 0o600, renameio.WithTempDir(d.path)); err != nil {
		return err
	}
	return syncFolder(d.path)
}

// remove removes a file, durably; a missing one is removed already.
func (d *dataDir) remove(name string) error {
	err := os.Remove(d.file(name))
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = syncFolder(d.path)
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", d.file(name), err)
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

// ReadJournal reads what the data folder at path says of its instance, without
// locking it, and whether or not an agent is running on it. It is nil when the
// folder is missing or belongs to no cluster, which is also so while an Init is
// unfinished.
func ReadJournal(path string) (*ha.Journal, error) {
	d := dataDir{path: path}
	j, found, err := d.loadJournal()
	if err != nil || !found || j.Pending != nil && j.Pending.Token == "" {
		return nil, err
	}
	return &j, nil
}

// CacheFolder is where the data folder at path has its restore.Cache; "" when
// there is none that this process may look into.
func CacheFolder(path string) (string, error) {
	folder := filepath.Join(path, cacheFolder)
	_, err := os.ReadDir(folder)
	switch {
	case err == nil:
		return folder, nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission), errors.Is(err, unix.ENOTDIR):
		return "", nil
	}
	return "", fmt.Errorf("look for the cache: %w", err)
}

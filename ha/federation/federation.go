package federation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/ha/clock"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/report"
)

// Config is how this host's Prometheus follows the active's: it finds that
// one's address in a file, which it reads again whenever it changes.
type Config struct {
	TargetsFile string // absolute; "": none is written
	Address     string // host:port of this host's Prometheus, told to the others; "": it has none
}

// Check tells whether the targets file could be written.
func (c Config) Check() error {
	if c.TargetsFile == "" {
		return nil
	}
	folder := filepath.Dir(c.TargetsFile)
	switch info, err := os.Stat(folder); {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("write the targets of Prometheus: the folder %s is missing: create it", folder)
	case err != nil:
		return fmt.Errorf("write the targets of Prometheus: %w", err)
	case !info.IsDir():
		return fmt.Errorf("write the targets of Prometheus: %s is not a folder", folder)
	}
	if err := unix.Access(folder, unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("write the targets of Prometheus: write to %s: %w", folder, err)
	}
	return nil
}

// Clear makes the file name nobody, where there is one.
func (c Config) Clear() error {
	if c.TargetsFile == "" {
		return nil
	}
	return replaceTargets(c.TargetsFile, "")
}

// Host is the instance on whose host the file is.
type Host struct {
	Config func() Config          // in force
	Target func() string          // what the file should name; "": nobody
	Change func() <-chan struct{} // closed when either may be another
	Log    event.Reporter
}

// Targets keeps the targets file current. It is safe for concurrent use; Run is called
// once.
type Targets struct {
	host Host

	mu      sync.Mutex
	known   bool // what stands there is known
	target  string
	failure string
}

// NewTargets has not looked at the file yet.
func NewTargets(h Host) *Targets { return &Targets{host: h} }

// Status is what the file says; nil when there is none.
func (f *Targets) Status() *report.FederationStatus {
	path := f.host.Config().TargetsFile
	if path == "" {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return &report.FederationStatus{TargetsFile: path, Target: f.target, Error: f.failure}
}

// forget is for another file.
func (f *Targets) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.known, f.target, f.failure = false, "", ""
}

// writeAgain is how long to wait after the file could not be written.
const writeAgain = 10 * time.Second

// Run keeps the file current until ctx is done.
func (f *Targets) Run(ctx context.Context) error {
	path := ""
	for {
		changed := f.host.Change()
		if wanted := f.host.Config().TargetsFile; wanted != path {
			if path != "" {
				f.write(ctx, path, "")
			}
			path = wanted
			f.forget()
		}
		if path == "" || f.write(ctx, path, f.host.Target()) {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-changed: // within a second, whatever happens
			}
		} else if err := clock.Wait(ctx, writeAgain); err != nil {
			return err
		}
	}
}

// write makes the file name one target, or none, and reports whether it
// does.
func (f *Targets) write(ctx context.Context, path, target string) bool {
	f.mu.Lock()
	failedBefore, same := f.failure != "", f.known && f.target == target
	f.mu.Unlock()
	if same {
		return true
	}
	err := Config{TargetsFile: path}.Check()
	if err == nil {
		err = replaceTargets(path, target)
	}
	f.mu.Lock()
	f.known, f.failure = err == nil, ""
	if err == nil {
		f.target = target
	} else {
		f.failure = err.Error()
	}
	f.mu.Unlock()
	switch {
	case err != nil && !failedBefore:
		f.host.Log.Note(ctx, event.Warn, "federation", err.Error(), nil)
	case err == nil && target != "":
		f.host.Log.Note(ctx, event.Info, "federation", "Prometheus here federates "+target, nil)
	}
	return err == nil
}

// replaceTargets writes a file of Prometheus's file-based service discovery, if
// it does not say the same already. Prometheus runs as another user.
func replaceTargets(path, target string) error {
	type group struct {
		Targets []string `json:"targets"`
	}
	groups := []group{}
	if target != "" {
		groups = append(groups, group{Targets: []string{target}})
	}
	data, err := json.Marshal(groups)
	if err != nil {
		return fmt.Errorf("write the targets of Prometheus: %w", err)
	}
	data = append(data, '\n')
	// The folder may be of Prometheus's user.
	at, err := fsx.Resolve(path)
	if err == nil {
		defer at.Close()
		err = at.Replace(data, 0o644)
	}
	if err != nil {
		return fmt.Errorf("write the targets of Prometheus: %w", err)
	}
	return nil
}

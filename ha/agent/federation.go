package agent

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
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/report"
)

// Federation is how this host's Prometheus follows the active's: it finds that
// one's address in a file, which it reads again whenever it changes.
type Federation struct {
	TargetsFile string // absolute; "": none is written
	Address     string // host:port of this host's Prometheus, told to the others; "": it has none
}

// Check tells whether the targets file could be written.
func (f Federation) Check() error {
	if f.TargetsFile == "" {
		return nil
	}
	folder := filepath.Dir(f.TargetsFile)
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

// federation is what stands in the targets file.
type federation struct {
	mu      sync.Mutex
	known   bool // what stands there is known
	target  string
	failure string
}

// status is what the file says; nil when there is none.
func (f *federation) status(cfg Federation) *report.FederationStatus {
	if cfg.TargetsFile == "" {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return &report.FederationStatus{TargetsFile: cfg.TargetsFile, Target: f.target, Error: f.failure}
}

// forget is for another file.
func (f *federation) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.known, f.target, f.failure = false, "", ""
}

// federateAgain is how long to wait after the file could not be written.
const federateAgain = 10 * time.Second

// keepTargets keeps the targets file current.
func (a *Agent) keepTargets(ctx context.Context) error {
	path := ""
	for {
		changed := a.Changed()
		if wanted := a.live().Federation.TargetsFile; wanted != path {
			if path != "" {
				a.writeTargets(ctx, path, "")
			}
			path = wanted
			a.federation.forget()
		}
		if path == "" || a.writeTargets(ctx, path, a.federated()) {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-changed: // within a second, whatever happens
			}
		} else if err := wait(ctx, federateAgain); err != nil {
			return err
		}
	}
}

// federated is the address of the active's Prometheus: "" on the active itself,
// and while it is not known, or nothing was heard of that instance for long.
func (a *Agent) federated() string {
	h := a.state.View().Head
	if h == nil || h.Active.Name == a.self.Name {
		return ""
	}
	read := a.records.Reading()
	r, found := read.Rows[h.Active.Name]
	if !found || r.Record == nil {
		a.records.Look(max(a.cfg.Poll, recordPause))
		return ""
	}
	if silentRecord(r.Attrs.Time, read.Began, a.cfg.Poll) {
		return ""
	}
	return r.Record.Prometheus
}

// writeTargets makes the file name one target, or none, and reports whether it
// does.
func (a *Agent) writeTargets(ctx context.Context, path, target string) bool {
	f := &a.federation
	f.mu.Lock()
	failedBefore, same := f.failure != "", f.known && f.target == target
	f.mu.Unlock()
	if same {
		return true
	}
	err := Federation{TargetsFile: path}.Check()
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
		a.tell.Note(ctx, event.Warn, "federation", err.Error(), nil)
	case err == nil && target != "":
		a.tell.Note(ctx, event.Info, "federation", "Prometheus here federates "+target, nil)
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

// silentRecord reports whether an instance's record, last written at seen, was
// older when it was read than it gets while the instance is well: a write may
// fail or be slow, and is then tried again.
func silentRecord(seen, read time.Time, poll time.Duration) bool {
	return read.Sub(seen) > recordEvery+recordPause+max(3*poll, recordSlack)
}

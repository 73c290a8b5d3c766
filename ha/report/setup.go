package report

import (
	"path/filepath"
	"time"

	"github.com/understudy-ha/understudy/ha/application"
)

// FederationStatus says whose Prometheus this host's federates.
type FederationStatus struct {
	TargetsFile string `json:"targets_file"`
	Target      string `json:"target"`          // "": none
	Error       string `json:"error,omitempty"` // why the file could not be written last
}

// ReloadState is how far a change of the configuration file has come.
type ReloadState string

// States of a change.
const (
	ReloadDone    ReloadState = "in force"
	ReloadWaiting ReloadState = "waiting" // the sources change once nothing is under way; the rest is in force
	ReloadRefused ReloadState = "refused" // the old one stays in force
	ReloadFailed  ReloadState = "failed"  // the old sources stay in force, the rest is
)

// ReloadStatus says what became of the last change of the configuration file.
type ReloadStatus struct {
	State ReloadState `json:"state"`
	Time  time.Time   `json:"time"`
	Error string      `json:"error,omitempty"`
}

// ReloadProblem says what is wrong with the last change; "" when nothing is.
func ReloadProblem(s *ReloadStatus) string {
	switch {
	case s == nil:
	case s.State == ReloadRefused:
		return "the configuration file cannot be used, the old one stays in force: " + s.Error
	case s.State == ReloadFailed:
		return "the sources of the configuration file could not come into force, the old ones stay: " + s.Error
	}
	return ""
}

// Protection is what this host's configuration file says: what is backed up, and which
// hooks run.
type Protection struct {
	Sources []ProtectedSource `json:"sources,omitempty"`
	Hooks   []ConfiguredHook  `json:"hooks,omitempty"`
	// Exec says that understudy exec starts and stops the application.
	Exec bool `json:"exec,omitempty"`
}

// ProtectedSource is one thing that is backed up, or restored here.
type ProtectedSource struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
}

// ConfiguredHook is a hook that has a command. Its arguments may hold secrets, so only
// the program is told.
type ConfiguredHook struct {
	Name    string  `json:"name" enum:"pre_backup,post_backup,promote,demote,probe"`
	Program string  `json:"program" doc:"without its folder and its arguments"`
	Timeout float64 `json:"timeout_seconds" doc:"0: a default"`
}

// ProtectionOf describes what is in force. It asks nobody: a disk may hang.
func ProtectionOf(l application.Setup) Protection {
	var p Protection
	for _, src := range l.Sources {
		p.Sources = append(p.Sources, ProtectedSource{Name: src.Name(), Kind: src.Kind()})
	}
	for _, h := range []struct {
		name string
		application.Hook
	}{{"pre_backup", l.Hooks.PreBackup}, {"post_backup", l.Hooks.PostBackup}, {"promote", l.Hooks.Promote}, {"demote", l.Hooks.Demote}, {"probe", l.Hooks.Probe}} {
		if len(h.Command) > 0 {
			p.Hooks = append(p.Hooks, ConfiguredHook{Name: h.name, Program: filepath.Base(h.Command[0]), Timeout: h.Timeout.Seconds()})
		}
	}
	return p
}

package agent

import (
	"path/filepath"

	"github.com/understudy-ha/understudy/ha/application"
)

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

// protects describes what is in force. It asks nobody: a disk may hang.
func (l *Live) protects() Protection {
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

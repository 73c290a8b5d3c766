package control

import (
	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/ha"
)

// BackupInfo describes one backup, for people.
type BackupInfo struct {
	backup.Ref
	Trigger    backup.Trigger `json:"trigger"`
	By         string         `json:"by,omitempty"` // who asked for it
	Reason     string         `json:"reason,omitempty"`
	Instance   string         `json:"instance"`
	AppVersion string         `json:"application_version,omitempty"`
	Version    string         `json:"agent_version"`
	Duration   float64        `json:"duration_seconds"`
	Size       backup.Size    `json:"size"`
	Changed    bool           `json:"changed"`
	Sources    []SourceInfo   `json:"sources"`
	Warnings   []string       `json:"warnings,omitempty"`
	Newest     bool           `json:"newest,omitempty"`     // what a promotion restores unless told otherwise
	Superseded bool           `json:"superseded,omitempty"` // on a branch that a promotion cut off
	Salvage    bool           `json:"salvage,omitempty"`    // made by a demoted active
	Cached     bool           `json:"cached,omitempty"`     // by this instance

	// Damaged says why its manifest cannot be used; then nothing but the Ref is
	// known of it.
	Damaged string `json:"damaged,omitempty"`
	// Unlinked says that nothing that can be read leads to it, from the head, a
	// marker or a record of salvage: only its signature vouches for it. Either
	// what led to it is damaged, or it was written and never published.
	Unlinked bool `json:"unlinked,omitempty"`

	// Rehearsals says which instances have rehearsed it, and how that went.
	Rehearsals []BackupRehearsal `json:"rehearsals,omitempty"`
}

// BackupRehearsal is one instance's rehearsal of a backup.
type BackupRehearsal struct {
	Instance string `json:"instance"`
	ha.Rehearsal
}

// SourceInfo is a backup's part for one source, for people.
type SourceInfo struct {
	Kind     string   `json:"kind"`
	Name     string   `json:"name"`
	Size     int64    `json:"size"`
	Warnings []string `json:"warnings,omitempty"`
	// Base names the base that a log goes on from in it (source.Recording); "": there is none.
	Base string `json:"-"`
}

// InfoOf describes a backup by its manifest.
func InfoOf(ref backup.Ref, m *backup.Manifest) BackupInfo {
	return BackupInfo{
		Ref: ref, Trigger: m.Trigger, By: m.By, Reason: m.Reason, Instance: m.Instance, AppVersion: m.AppVersion, Version: m.Version,
		Duration: m.Duration, Size: m.Size, Changed: m.Changed, Sources: sourceInfos(m.Sources), Warnings: m.Warnings,
	}
}

// DamagedInfo describes a backup whose manifest cannot be used.
func DamagedInfo(ref backup.Ref, err error) BackupInfo {
	info := BackupInfo{Ref: ref, Sources: []SourceInfo{}}
	if err != nil {
		info.Damaged = err.Error()
	}
	return info
}

func sourceInfos(entries []source.Entry) []SourceInfo {
	infos := make([]SourceInfo, len(entries))
	for i, e := range entries {
		is, _ := source.RecordingOf(e)
		infos[i] = SourceInfo{Kind: e.Kind, Name: e.Name, Size: e.Size, Warnings: e.Warnings, Base: is.Base}
	}
	return infos
}

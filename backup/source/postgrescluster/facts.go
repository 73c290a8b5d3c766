package postgrescluster

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/meta"
	"github.com/understudy-ha/understudy/backup/source/postgrescluster/internal/wal"
	"github.com/understudy-ha/understudy/backup/stream"
)

// Facts is what an Entry of the kind tells in Facts.
type Facts struct {
	Path    string `json:"path"`              // of the data folder
	System  uint64 `json:"system_id,string"`  // which initdb gave the server
	Version string `json:"version"`           // "15.18"
	Major   int    `json:"major"`             // 15
	Machine string `json:"machine"`           // architecture, as Go names it
	Block   int    `json:"block_size"`        // of tables
	Segment uint64 `json:"segment_size"`      // of the log
	Super   string `json:"superuser"`         // whom initdb made
	Preload string `json:"preload,omitempty"` // shared_preload_libraries
	Config  string `json:"config,omitempty"`  // where postgresql.conf is, if it is not in the data folder

	Timeline uint32  `json:"timeline"`
	History  string  `json:"history,omitempty"` // the content of the timeline's history file
	Term     *Term   `json:"term,omitempty"`    // nil: no epoch has begun here yet
	Start    wal.LSN `json:"start"`             // of the base
	Stop     wal.LSN `json:"stop"`              // of the base: without the log up to here it is worth nothing
	From     wal.LSN `json:"from"`              // of the log that the base needs: where a segment begins
	Joins    wal.LSN `json:"joins,omitzero"`    // where the log begins, if that is before From: where that of the backup with the base before ended
	To       wal.LSN `json:"to"`                // of the log
	Tail     string  `json:"tail"`              // digest of the last of the log, see tail

	BaseTime  time.Time `json:"base_time"`          // when it was begun
	StopTime  time.Time `json:"stop_time,omitzero"` // when the server had passed Stop
	ToTime    time.Time `json:"to_time,omitzero"`   // when the server was at To
	BaseFiles int64     `json:"base_files"`
	BaseBytes int64     `json:"base_bytes"`
	Databases int       `json:"databases"` // that are not the server's own
	Bytes     int64     `json:"bytes"`     // of all databases

	User    string        `json:"user,omitempty"` // who owns the data folder
	Group   string        `json:"group,omitempty"`
	UID     uint32        `json:"uid"`
	GID     uint32        `json:"gid"`
	Mode    uint32        `json:"mode"`
	Parents []meta.Parent `json:"parents,omitempty"`
}

func factsOf(e source.Entry) (Facts, error) {
	var f Facts
	if e.Kind != kind {
		return f, fmt.Errorf("restore %s: it is a %s, not a %s", e.Name, e.Kind, kind)
	}
	if err := json.Unmarshal(e.Facts, &f); err != nil {
		return f, fmt.Errorf("restore %s: read facts: %w", e.Name, err)
	}
	if f.Segment == 0 || e.Extra == nil || f.To < f.Stop {
		return f, fmt.Errorf("restore %s: its facts are not whole", e.Name)
	}
	return f, nil
}

// logSize is how long the log is.
func (f *Facts) logSize() int64 { return int64(f.To - f.From) }

// manyBytes is what databases measured when it counts that more than half is gone.
const manyBytes = 64 << 20

// Lost implements source.Measured.
func (f *Facts) Lost(was *Facts) string {
	switch {
	case was.Databases > 0 && f.Databases == 0:
		return fmt.Sprintf("had %d databases, has none", was.Databases)
	case was.Bytes >= manyBytes && 2*f.Bytes < was.Bytes:
		return fmt.Sprintf("its databases had %s, have %s", humanize.IBytes(uint64(was.Bytes)), humanize.IBytes(uint64(f.Bytes)))
	}
	return ""
}

// since is Since.
func since(e source.Entry, position string) string {
	var f Facts
	now, err := wal.Parse(position)
	if json.Unmarshal(e.Facts, &f) != nil || err != nil || now <= f.To {
		return ""
	}
	return humanize.IBytes(uint64(now-f.To)) + " of write-ahead log"
}

// logPosition is LogPosition.
func logPosition(e source.Entry) (stream.Position, bool) {
	f, err := factsOf(e)
	return stream.Position(f.To), err == nil
}

// held is Held.
func held(e source.Entry) string {
	var f Facts
	if json.Unmarshal(e.Facts, &f) != nil {
		return ""
	}
	return fmt.Sprintf("%d databases", f.Databases)
}

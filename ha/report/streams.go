package report

import (
	"time"

	"github.com/understudy-ha/understudy/backup/stream"
)

// StreamStatus is how far the log of a source has come: on the active in the bucket, on a
// standby in its replica. Times are by the active's clock. Numbers that are negative are not
// known.
type StreamStatus struct {
	Source  string          `json:"source"`
	Replica bool            `json:"replica,omitempty"` // it is a standby's
	Stream  string          `json:"stream,omitempty"`  // in force; "": none is
	Part    uint64          `json:"part"`              // the newest one that is shipped, or taken in
	To      stream.Position `json:"position"`          // where it ends
	Time    time.Time       `json:"time,omitzero"`     // when the active read that
	// UpTo says that everything that was read of the log by then is in the bucket, or
	// applied to the replica; missing: that is not known.
	UpTo time.Time `json:"up_to,omitzero"`
	// Age is how long ago that is, on the active: what a failover now would lose of the
	// source. A stream that is not Based does not count.
	Age float64 `json:"age_seconds"`
	// Runs: on the active the log is read and shipped, on a standby the replica goes on in
	// the stream that is in force.
	Runs      bool `json:"runs"`
	Based     bool `json:"based"`               // a backup leads up to the stream: a promotion would apply it
	Confirmed bool `json:"confirmed,omitempty"` // the source was told that it is in the bucket, but for what has just come there
	// Behind is what is known to be shipped and is not applied to the replica yet, in the
	// unit of positions; Lag by how many seconds that is newer.
	Behind int64   `json:"behind"`
	Lag    float64 `json:"lag_seconds"`
	Paused bool    `json:"paused,omitempty"` // the replica had paused, and was not seen to go on since
	Pauses int64   `json:"pauses,omitempty"` // how often it had, and was started anew
	// Kept is what the server of an active's source says of its log; missing: it was not
	// asked yet, or has none.
	Kept  *KeptLog `json:"kept,omitempty"`
	Error string   `json:"error,omitempty"` // why it does not go on; "": nothing is known to be wrong
}

// KeptLog is what a source's server said of its log when it was asked last.
type KeptLog struct {
	Time time.Time `json:"time,omitzero"` // of the answer; missing: there was none yet
	// Bytes is the log that it keeps until that is confirmed, and in a backup; Room how much
	// more it can write until it deletes some of that, or its disk is full.
	Bytes int64 `json:"bytes"`
	Room  int64 `json:"room_bytes"`
	Lost  bool  `json:"lost,omitempty"` // it has deleted some of that, or is about to
	// Synced says that commits are to wait until they are in the bucket, Waits that they do,
	// Unsynced for how long they are known not to.
	Synced   bool    `json:"synced,omitempty"`
	Waits    bool    `json:"waits,omitempty"`
	Unsynced float64 `json:"unsynced_seconds,omitempty"`
	// BaseDue is when the base of the newest backup should be replaced; missing: not known.
	BaseDue time.Time `json:"base_due,omitzero"`
	// Unpacked is how much log comes after the newest backup; negative: not known.
	Unpacked int64  `json:"unpacked_bytes"`
	Error    string `json:"error,omitempty"` // why there is no newer answer
}

// Shipped is what this process has shipped of one source's log.
type Shipped struct {
	Parts int64 `json:"parts"`
	Bytes int64 `json:"bytes"` // of log, before it is compressed
	Gaps  int64 `json:"gaps"`  // of the log, which ended a stream
}

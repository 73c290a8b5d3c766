package report

import (
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/understudy-ha/understudy/ha/event"
)

// From when on it is wrong. The alerts are by the same numbers.
const (
	unsyncedLong = time.Minute     // that commits do not wait
	baseLate     = 6 * time.Hour   // that a base is not replaced
	unpackedLong = 24 * time.Hour  // that log is in no backup
	askedLong    = 5 * time.Minute // since the server has answered
)

// keptFindings are what there is to say of a server's log, and of a replica that pauses.
func (s *Status) keptFindings(f *findings, of *StreamStatus) {
	if of == nil {
		return
	}
	f.problem(topicPaused, of.Paused, "the replica of %s had paused, and does not go on yet: it was started anew", of.Source)
	k := of.Kept
	if k == nil {
		return
	}
	f.caveat(topicKept, k.Time.IsZero() && k.Error != "", "the server of %s has not said yet what log it keeps: %s", of.Source, k.Error)
	if k.Time.IsZero() {
		return
	}
	now := s.known.Now
	f.problem(topicKept, k.Lost, "the server of %s has deleted log that this agent still needs, or is about to: the stream ends then, and replicas are built anew; let it keep more (max_slot_wal_keep_size)", of.Source)
	f.problem(topicKept, !k.Lost && k.Bytes > k.Room, "the server of %s keeps %s of log for this agent, and has room for %s more: then it deletes that, or its disk is full", of.Source, humanize.IBytes(uint64(k.Bytes)), humanize.IBytes(uint64(k.Room)))
	f.problem(topicSync, k.Unsynced > unsyncedLong.Seconds() && !s.saysSync(of.Source), "commits of %s do not wait for the bucket, though sync is set: a failover now may lose what is committed", of.Source)
	f.problem(topicBase, !k.BaseDue.IsZero() && now.Sub(k.BaseDue) > baseLate, "the base of %s should have been replaced %s ago: a restore has ever more log to apply", of.Source, Seconds(now.Sub(k.BaseDue).Seconds()))
	f.problem(topicBase, k.Unpacked > 0 && s.LastBackupAge > unpackedLong.Seconds(), "%s of log of %s are in no backup for %s: parts of a stream expire after a week", humanize.IBytes(uint64(k.Unpacked)), of.Source, Seconds(s.LastBackupAge))
	f.caveat(topicKept, now.Sub(k.Time) > askedLong, "the log that the server of %s keeps is as of %s ago: %s", of.Source, Seconds(now.Sub(k.Time).Seconds()), k.Error)
}

// saysSync reports whether a trouble says already that commits do not wait.
func (s *Status) saysSync(source string) bool {
	return slices.ContainsFunc(s.known.Troubles, func(t event.Trouble) bool { return strings.HasPrefix(t.Text, "commits of "+source+" do not wait") })
}

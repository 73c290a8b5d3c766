package api

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/understudy-ha/understudy/ha/report"
)

// Metrics of sources whose log is shipped.
var streamMetrics = []labelled{
	gauges("stream_recovery_point_age_seconds", "source", "For how long log of a source has been read that is not in the bucket: what a failover now would lose of it. Missing where that is not known, or no backup leads up to the stream.", ofStreams(false, func(s *report.StreamStatus) (float64, bool) {
		return s.Age, s.Age >= 0 && s.Stream != "" && s.Based
	})),
	gauges("stream_shipping", "source", "1 while the active reads the log of a source and ships it, in a stream that the head names.", ofStreams(false, func(s *report.StreamStatus) (float64, bool) {
		return flag(s.Stream != "" && s.Runs)
	})),
	gauges("stream_based", "source", "1 when a backup leads up to the stream that is shipped: else a promotion applies nothing of it.", ofStreams(false, func(s *report.StreamStatus) (float64, bool) {
		v, _ := flag(s.Based)
		return v, s.Stream != ""
	})),
	gauges("stream_confirmed", "source", "1 when a source was told that all that was shipped of its log is in the bucket: else it keeps the log.", ofStreams(false, func(s *report.StreamStatus) (float64, bool) {
		v, _ := flag(s.Confirmed)
		return v, s.Stream != ""
	})),
	gauges("stream_part", "source", "Number of the newest part that the active has shipped.", ofStreams(false, func(s *report.StreamStatus) (float64, bool) {
		return float64(s.Part), s.Stream != ""
	})),
	gauges("stream_position", "source", "Where that part ends, as a position in the log of a source.", ofStreams(false, func(s *report.StreamStatus) (float64, bool) {
		return float64(s.To), s.Stream != ""
	})),
	shippedCounters("stream_shipped_parts_total", "Parts that were shipped of the log of a source.", func(s report.Shipped) int64 { return s.Parts }),
	shippedCounters("stream_shipped_bytes_total", "Log of a source that was shipped, before it is compressed.", func(s report.Shipped) int64 { return s.Bytes }),
	shippedCounters("stream_gaps_total", "Times that a source did not have log any more that was not shipped yet.", func(s report.Shipped) int64 { return s.Gaps }),

	gauges("stream_sync", "source", "1 while commits of a source with sync wait until they are in the bucket; 0 while they do not. Missing without sync.", ofKept(func(_ *report.Status, k *report.KeptLog) (float64, bool) {
		v, _ := flag(k.Waits)
		return v, k.Synced
	})),
	gauges("stream_unpacked_bytes", "source", "Log of a source that comes after the newest backup.", ofKept(func(_ *report.Status, k *report.KeptLog) (float64, bool) {
		return known(float64(k.Unpacked))
	})),
	gauges("stream_unpacked_seconds", "source", "For how long log of a source is in no backup; 0: all of it is in the newest one.", ofKept(func(s *report.Status, k *report.KeptLog) (float64, bool) {
		if k.Unpacked == 0 {
			return 0, true
		}
		return s.LastBackupAge, k.Unpacked > 0 && s.LastBackupAge >= 0
	})),
	gauges("base_due_timestamp_seconds", "source", "When the base in the newest backup of a source should be replaced by a new one.", ofKept(func(_ *report.Status, k *report.KeptLog) (float64, bool) {
		v, _ := timestamp(&k.BaseDue)
		return v, !k.BaseDue.IsZero()
	})),
	gauges("slot_retained_bytes", "source", "Log that the server of a source keeps for this agent, in its replication slots: what is not confirmed, or in no backup.", ofKept(func(_ *report.Status, k *report.KeptLog) (float64, bool) {
		return float64(k.Bytes), true
	})),
	gauges("slot_room_bytes", "source", "Log that the server of a source can still write until it deletes some that this agent needs (max_slot_wal_keep_size), or its disk is full.", ofKept(func(_ *report.Status, k *report.KeptLog) (float64, bool) {
		return float64(k.Room), true
	})),
	gauges("slot_lost", "source", "1 when the server of a source has deleted log that this agent needs, or is about to (wal_status lost or unreserved).", ofKept(func(_ *report.Status, k *report.KeptLog) (float64, bool) {
		return flag(k.Lost)
	})),
	gauges("slot_asked_timestamp_seconds", "source", "When the server of a source last said what it keeps: the metrics slot_…, base_…, stream_sync and stream_unpacked_… are as of then.", ofKept(func(_ *report.Status, k *report.KeptLog) (float64, bool) {
		return timestamp(&k.Time)
	})),

	gauges("replica_following", "source", "1 while a standby's replica of a source goes on in the stream that is in force.", ofStreams(true, func(s *report.StreamStatus) (float64, bool) {
		return flag(s.Runs)
	})),
	gauges("replica_lag_bytes", "source", "Log of a source that is known to be shipped, and that a standby's replica has not applied.", ofStreams(true, func(s *report.StreamStatus) (float64, bool) {
		return known(float64(s.Behind))
	})),
	gauges("replica_lag_seconds", "source", "By how much the newest log that is known to be shipped is newer than what a standby's replica has applied.", ofStreams(true, func(s *report.StreamStatus) (float64, bool) {
		return known(s.Lag)
	})),
	{prometheus.NewDesc("understudy_replica_pauses_total", "Times that a standby's replica of a source had paused, and was started anew.", []string{"source"}, nil), prometheus.CounterValue, ofStreams(true, func(s *report.StreamStatus) (float64, bool) {
		return float64(s.Pauses), true
	})},
}

// ofKept measures what the servers of sources last said of their log.
func ofKept(value func(*report.Status, *report.KeptLog) (float64, bool)) func(*report.Status) map[string]float64 {
	return func(s *report.Status) map[string]float64 {
		return ofStreams(false, func(one *report.StreamStatus) (float64, bool) {
			if one.Kept == nil || one.Kept.Time.IsZero() {
				return 0, false
			}
			return value(s, one.Kept)
		})(s)
	}
}

// ofStreams measures the logs that are shipped, or the replicas.
func ofStreams(replicas bool, value func(*report.StreamStatus) (float64, bool)) func(*report.Status) map[string]float64 {
	return func(s *report.Status) map[string]float64 {
		values := make(map[string]float64)
		for _, one := range s.Streams {
			if one.Replica != replicas {
				continue
			}
			if v, ok := value(&one); ok {
				values[one.Source] = v
			}
		}
		return values
	}
}

func shippedCounters(name, help string, value func(report.Shipped) int64) labelled {
	return labelled{prometheus.NewDesc("understudy_"+name, help, []string{"source"}, nil), prometheus.CounterValue, func(s *report.Status) map[string]float64 {
		values := make(map[string]float64)
		for source, shipped := range s.Stats.Shipped {
			values[source] = float64(value(shipped))
		}
		return values
	}}
}

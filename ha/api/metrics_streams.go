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

	gauges("replica_following", "source", "1 while a standby's replica of a source goes on in the stream that is in force.", ofStreams(true, func(s *report.StreamStatus) (float64, bool) {
		return flag(s.Runs)
	})),
	gauges("replica_lag_bytes", "source", "Log of a source that is known to be shipped, and that a standby's replica has not applied.", ofStreams(true, func(s *report.StreamStatus) (float64, bool) {
		return known(float64(s.Behind))
	})),
	gauges("replica_lag_seconds", "source", "By how much the newest log that is known to be shipped is newer than what a standby's replica has applied.", ofStreams(true, func(s *report.StreamStatus) (float64, bool) {
		return known(s.Lag)
	})),
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

package api

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/understudy-ha/understudy/ha/report"
	"github.com/understudy-ha/understudy/ha/upkeep"
)

// ifKept is a gauge of a part of the status that may not be known.
func ifKept(name, help string, value func(*upkeep.RetentionStatus) (float64, bool)) metric {
	return gauge(name, help, func(s *report.Status) (float64, bool) {
		if s.Retention == nil {
			return 0, false
		}
		return value(s.Retention)
	})
}

func ifFederated(name, help string, value func(*report.FederationStatus) (float64, bool)) metric {
	return gauge(name, help, func(s *report.Status) (float64, bool) {
		if s.Federation == nil {
			return 0, false
		}
		return value(s.Federation)
	})
}

// retentionMetrics are about what expires, and about federation.
var retentionMetrics = []metric{
	ifKept("retention_by_bucket_rules", "1 when the bucket's own rules delete all that has expired; 0: the active does, in whole or in part.", func(r *upkeep.RetentionStatus) (float64, bool) {
		return flag(r.AppliedBy == upkeep.AppliedByBucket)
	}),
	ifKept("retention_problems", "Rules of the bucket that delete too soon, or that could not be read.", func(r *upkeep.RetentionStatus) (float64, bool) {
		unread, _ := flag(r.Error != "")
		return float64(len(r.Problems)) + unread, true
	}),
	ifKept("newest_backup_at_risk", "1 when the newest backup may expire before there is another.", func(r *upkeep.RetentionStatus) (float64, bool) {
		return flag(r.NewestAtRisk != "")
	}),
	ifKept("retention_rules_read_timestamp_seconds", "When the bucket's rules were last read.", func(r *upkeep.RetentionStatus) (float64, bool) {
		return timestamp(r.RulesRead)
	}),
	ifKept("retention_last_sweep_timestamp_seconds", "When the active last deleted what had expired.", func(r *upkeep.RetentionStatus) (float64, bool) {
		return timestamp(r.LastSweep)
	}),
	{
		prometheus.NewDesc("understudy_expired_objects_deleted_total", "Objects that this instance has deleted because they had expired.", nil, nil), prometheus.CounterValue,
		func(s *report.Status) (float64, bool) {
			if s.Retention == nil {
				return 0, false
			}
			return float64(s.Retention.Deleted), true
		},
	},
	gauge("oldest_pack_renewal_due_timestamp_seconds", "By when the oldest pack that the last backup refers to will have been stored again.", func(s *report.Status) (float64, bool) {
		if s.Retention == nil || s.Stats.OldestPack == nil {
			return 0, false
		}
		due := s.Stats.OldestPack.Add(time.Duration(s.Retention.Effective.ReuseWindow))
		return timestamp(&due)
	}),

	ifFederated("federation_target_known", "1 when the Prometheus of this host is told whose to federate.", func(f *report.FederationStatus) (float64, bool) {
		return flag(f.Target != "")
	}),
	ifFederated("federation_file_failed", "1 when the file of targets for this host's Prometheus cannot be written.", func(f *report.FederationStatus) (float64, bool) {
		return flag(f.Error != "")
	}),
}

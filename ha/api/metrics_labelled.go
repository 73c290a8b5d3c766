package api

import (
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/application"
	"github.com/understudy-ha/understudy/ha/report"
	"github.com/understudy-ha/understudy/ha/runner"
	"github.com/understudy-ha/understudy/ha/upkeep"
)

// labelled is a metric with one label, whose values are few: an instance's
// name, or a word of this program's own.
type labelled struct {
	desc   *prometheus.Desc
	kind   prometheus.ValueType
	values func(*report.Status) map[string]float64 // by the label
}

func gauges(name, label, help string, values func(*report.Status) map[string]float64) labelled {
	return labelled{prometheus.NewDesc("understudy_"+name, help, []string{label}, nil), prometheus.GaugeValue, values}
}

// counters count from 0 for all that may ever be counted: a first failure is an
// increase then.
func counters(name, label, help string, all []string, counts func(*report.Stats) map[string]int64) labelled {
	return labelled{
		prometheus.NewDesc("understudy_"+name, help, []string{label}, nil), prometheus.CounterValue,
		func(s *report.Status) map[string]float64 {
			values := make(map[string]float64)
			for _, one := range all {
				values[one] = 0
			}
			for one, n := range counts(&s.Stats) {
				values[one] = float64(n)
			}
			return values
		},
	}
}

// latencyDesc is the one histogram.
var latencyDesc = prometheus.NewDesc("understudy_bucket_request_duration_seconds", "How long requests for control objects took.", []string{"operation"}, nil)

var labelledMetrics = []labelled{
	gauges("role", "role", "1 for the role that this instance has.", func(s *report.Status) map[string]float64 {
		values := make(map[string]float64)
		for _, role := range []ha.Role{ha.RoleActive, ha.RoleStandby} {
			values[string(role)], _ = flag(s.Role == role)
		}
		return values
	}),
	gauges("backup_last_size_bytes", "part", "Size of the last completed backup of this process: of the state (logical), of what was new in it (new), of what was stored (stored).", func(s *report.Status) map[string]float64 {
		if s.Stats.LastSuccess == nil {
			return nil
		}
		size := s.Stats.BackupSize
		return map[string]float64{"logical": float64(size.Logical), "new": float64(size.New), "stored": float64(size.Stored)}
	}),
	counters("failures_total", "step", "Failures of a step of backups, pulls, promotions and demotions, or of a write to the bucket.", runner.EffectSteps(), func(s *report.Stats) map[string]int64 { return s.Failures }),
	counters("hook_failures_total", "hook", "Runs of a hook that failed.", application.HookNames(), func(s *report.Stats) map[string]int64 { return s.HookFailures }),
	counters("bucket_errors_total", "operation", "Requests for control objects that failed.", nil, func(s *report.Stats) map[string]int64 {
		counts := make(map[string]int64)
		for operation, l := range s.BucketLatency {
			counts[operation] = l.Errors
		}
		return counts
	}),

	gauges("snapshot_age_seconds", "source", "For how long a dump that is under way has held its snapshot of a database; 0: none is held. As long as it is, the server keeps every dead row.", ofSnapshots(func(s report.Snapshot) float64 { return s.Age })),
	gauges("snapshot_last_seconds", "source", "For how long the last dump of a database held its snapshot.", ofSnapshots(func(s report.Snapshot) float64 { return s.Last })),
	gauges("standby_lag_seconds", "name", "How much older a standby's newest cached backup is than the newest one.", ofInstances(func(i *report.InstanceStatus) (float64, bool) {
		return i.Lag, i.Role == ha.RoleStandby && i.Lag >= 0
	})),
	gauges("standby_cached_backups", "name", "Backups that a standby says it has cached.", ofInstances(func(i *report.InstanceStatus) (float64, bool) {
		return float64(len(i.Cached)), i.Role == ha.RoleStandby
	})),
	gauges("instance_last_seen_timestamp_seconds", "name", "When an instance last wrote its record, by the store's clock.", ofInstances(func(i *report.InstanceStatus) (float64, bool) {
		return timestamp(i.LastSeen)
	})),
	gauges("instance_reachable", "name", "1 while an instance keeps its record in the bucket current.", ofInstances(func(i *report.InstanceStatus) (float64, bool) {
		return flag(!strings.HasPrefix(i.State, report.StateUnreachable))
	})),

	gauges("rehearsal_passed", "name", "1 when a standby's newest rehearsal passed, with doubts or without; 0 when it failed.", ofInstances(func(i *report.InstanceStatus) (float64, bool) {
		if len(i.Rehearsals) == 0 {
			return 0, false
		}
		return flag(i.Rehearsals[0].Staged())
	})),
	gauges("rehearsal_doubtful", "name", "1 when a standby's newest rehearsal is doubtful: it restored all that the backup has, of which something may never have been so.", ofInstances(func(i *report.InstanceStatus) (float64, bool) {
		if len(i.Rehearsals) == 0 {
			return 0, false
		}
		return flag(i.Rehearsals[0].Result == ha.RehearsalDoubtful)
	})),
	gauges("rehearsal_duration_seconds", "name", "What a standby's newest rehearsal took.", ofInstances(func(i *report.InstanceStatus) (float64, bool) {
		if len(i.Rehearsals) == 0 {
			return 0, false
		}
		return always(time.Duration(i.Rehearsals[0].Took).Seconds())
	})),
	gauges("rehearsal_last_success_timestamp_seconds", "name", "When a standby last rehearsed one of its cached backups with success.", ofInstances(func(i *report.InstanceStatus) (float64, bool) {
		good := slices.IndexFunc(i.Rehearsals, passed)
		if good < 0 {
			return 0, false
		}
		return timestamp(&i.Rehearsals[good].Time)
	})),

	gauges("retention_seconds", "kind", "How long a backup stays restorable: as configured, and what the bucket's rules leave of it (effective).", ofRetention(func(t upkeep.RetentionTimes) time.Duration {
		return time.Duration(t.Retention)
	})),
	gauges("reuse_window_seconds", "kind", "How long stored data is referred to before it is stored again: as configured, and what the bucket's rules leave of it (effective).", ofRetention(func(t upkeep.RetentionTimes) time.Duration {
		return time.Duration(t.ReuseWindow)
	})),
}

func passed(r ha.Rehearsal) bool { return r.Staged() }

// ofInstances measures the table of instances. Those without a name have not
// joined, and have nothing to measure.
func ofInstances(value func(*report.InstanceStatus) (float64, bool)) func(*report.Status) map[string]float64 {
	return func(s *report.Status) map[string]float64 {
		values := make(map[string]float64)
		for _, i := range s.Instances {
			if i.Name == "" || i.State == report.StateRemoved {
				continue
			}
			if v, ok := value(&i); ok {
				values[i.Name] = v
			}
		}
		return values
	}
}

func ofRetention(length func(upkeep.RetentionTimes) time.Duration) func(*report.Status) map[string]float64 {
	return func(s *report.Status) map[string]float64 {
		if s.Retention == nil {
			return nil
		}
		return map[string]float64{
			"configured": length(s.Retention.Configured).Seconds(), "effective": length(s.Retention.Effective).Seconds(),
		}
	}
}

func ofSnapshots(value func(report.Snapshot) float64) func(*report.Status) map[string]float64 {
	return func(s *report.Status) map[string]float64 {
		values := make(map[string]float64)
		for name, snapshot := range s.Stats.Snapshots {
			values[name] = value(snapshot)
		}
		return values
	}
}

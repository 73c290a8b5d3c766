package api

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/report"
)

// gather collects a status, pedantically: every metric must be described, and
// none sent twice.
func gather(t *testing.T, s report.Status, more ...prometheus.Collector) []*dto.MetricFamily {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(&statusCollector{func() report.Status { return s }})
	registry.MustRegister(more...)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// values gives the metrics by name and labels: `role{active}`.
func values(families []*dto.MetricFamily) map[string]float64 {
	all := make(map[string]float64)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			name := strings.TrimPrefix(family.GetName(), "understudy_")
			for _, label := range m.GetLabel() {
				name += "{" + label.GetValue() + "}"
			}
			all[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return all
}

func TestMetricsFollowTheConventions(t *testing.T) {
	families := gather(t, newFake(t).Status(), buildInfo("1.2.3"))
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "understudy_") {
			t.Errorf("%s has no prefix", f.GetName())
		}
	}
}

// TestMetricsHoldForEveryStatus: an empty one, and one that lists an instance
// twice, must not break a scrape.
func TestMetricsHoldForEveryStatus(t *testing.T) {
	twice := newFake(t).Status()
	twice.Instances = slices.Concat(twice.Instances, twice.Instances)
	gather(t, twice)
	gather(t, report.Status{})
}

func TestMetricsSayWhatAnOperatorAlertsOn(t *testing.T) {
	s := newFake(t).Status()
	s.Uptime, s.ClockSkew, s.BucketFailing = 60, -1.5, 3
	s.Stats.NotificationsFailed = 5
	s.Stats.BucketLatency = map[string]control.Latency{"read": {Count: 9, Errors: 2}}
	s.Stats.Failures, s.Stats.HookFailures = map[string]int64{"swap": 3}, map[string]int64{"demote": 1}
	s.Stats.Snapshots = map[string]report.Snapshot{"db": {Age: 7, Last: 40}}
	s.Lease = &ha.Lease{}
	s.Instances[1].Lag = 300
	s.Instances[1].Rehearsals = []ha.Rehearsal{
		{Backup: "2", Result: ha.RehearsalFailed, Took: ha.Duration(3 * time.Second), Time: then.Add(30 * time.Second)},
		{Backup: "1", Result: ha.RehearsalPassed, Took: ha.Duration(2 * time.Second), Time: then},
	}
	got := values(gather(t, s))
	for name, want := range map[string]float64{
		"role{active}": 1, "role{standby}": 0, "leading": 1, "epoch": 3, "uptime_seconds": 60,
		"backup_attempts_total": 4, "backup_failures_total": 1,
		"backup_last_attempt_timestamp_seconds": float64(then.Unix()), "backup_last_success_timestamp_seconds": float64(then.Unix()),
		"backup_last_duration_seconds": 1.5, "backup_last_size_bytes{logical}": 30, "backup_last_size_bytes{new}": 20, "backup_last_size_bytes{stored}": 10,
		"last_backup_age_seconds": 12, "next_backup_seconds": 30,
		"standby_lag_seconds{b}": 300, "standby_cached_backups{b}": 1, "instance_last_seen_timestamp_seconds{b}": float64(then.Unix()),
		"rehearsal_passed{b}": 0, "rehearsal_doubtful{b}": 0, "rehearsal_duration_seconds{b}": 3, "rehearsal_last_success_timestamp_seconds{b}": float64(then.Unix()),
		"bucket_up": 1, "bucket_failing_seconds": 3, "bucket_errors_total{read}": 2,
		"failures_total{swap}": 3, "failures_total{head.publish}": 0, "hook_failures_total{demote}": 1, "hook_failures_total{probe}": 0,
		"snapshot_age_seconds{db}": 7, "snapshot_last_seconds{db}": 40,
		"instance_reachable{b}": 1, "backup_interval_seconds": 300, "backup_last_attempt_failed": 0,
		"clock_skew_seconds":         -1.5,
		"notifications_failed_total": 5, "lease_held": 1, "promotion_running": 0,
	} {
		if v, found := got[name]; !found || v != want {
			t.Errorf("%s: %v (found: %t), want %v", name, v, found, want)
		}
	}
}

func TestWhatIsNotKnownIsNotMeasured(t *testing.T) {
	got := values(gather(t, report.Status{LastBackupAge: -1, NextBackup: -1, HeadAge: -1}))
	for _, name := range []string{
		"last_backup_age_seconds", "last_backup_timestamp_seconds", "next_backup_seconds", "head_age_seconds",
		"backup_last_success_timestamp_seconds", "backup_last_duration_seconds", "backup_last_size_bytes{stored}",
	} {
		if v, found := got[name]; found {
			t.Errorf("%s: %v", name, v)
		}
	}
}

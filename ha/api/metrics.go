package api

import (
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/report"
)

// addMetrics serves what the agent knows in Prometheus's format, from a
// registry of its own.
func (a *api) addMetrics(i Instance, version string) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		&statusCollector{status: i.Status},
		buildInfo(version),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	a.mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelError),
	}))
	o := operation("metrics", http.MethodGet, "/metrics", "Prometheus")
	o.Responses["200"] = describe("Metrics", map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: huma.TypeString}}})
	a.huma.OpenAPI().AddOperation(&o)
}

func buildInfo(version string) prometheus.Collector {
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "understudy_build_info", Help: "Always 1; the labels tell what runs.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	})
	g.Set(1)
	return g
}

// metric is one metric of an instance without labels of its own.
type metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	// value gives the value, and whether there is one to show.
	value func(*report.Status) (float64, bool)
}

func gauge(name, help string, value func(*report.Status) (float64, bool)) metric {
	return metric{prometheus.NewDesc("understudy_"+name, help, nil, nil), prometheus.GaugeValue, value}
}

func counter(name, help string, value func(*report.Stats) int64) metric {
	return metric{prometheus.NewDesc("understudy_"+name, help, nil, nil), prometheus.CounterValue,
		func(s *report.Status) (float64, bool) { return float64(value(&s.Stats)), true }}
}

func always(v float64) (float64, bool) { return v, true }

func flag(b bool) (float64, bool) {
	if b {
		return 1, true
	}
	return 0, true
}

// known is for numbers that are negative while they are not known.
func known(v float64) (float64, bool) { return v, v >= 0 }

func timestamp(t *time.Time) (float64, bool) {
	if t == nil {
		return 0, false
	}
	return float64(t.UnixNano()) / 1e9, true
}

// Metrics of this instance.
var instanceMetrics = []metric{
	gauge("leading", "1 on the active that the bucket has confirmed in this process.", func(s *report.Status) (float64, bool) { return flag(s.Leading) }),
	gauge("application_running", "1 when the application is known to run here.", func(s *report.Status) (float64, bool) { return flag(s.App == "running") }),
	gauge("healthy", "1 when there is nothing that an operator should look at.", func(s *report.Status) (float64, bool) { return flag(s.Healthy) }),
	gauge("refused", "1 when this instance is active by its own journal, but not by the head.", func(s *report.Status) (float64, bool) { return flag(s.Refused != "") }),
	gauge("epoch", "The epoch: a counter of promotions.", func(s *report.Status) (float64, bool) { return always(float64(s.Epoch)) }),
	gauge("uptime_seconds", "For how long the agent has run.", func(s *report.Status) (float64, bool) { return always(s.Uptime) }),
	gauge("head_age_seconds", "Since the head was seen to change.", func(s *report.Status) (float64, bool) { return known(s.HeadAge) }),
	gauge("active_alive", "1 when the active shows signs of life.", func(s *report.Status) (float64, bool) { return flag(s.HeadAlive) }),
	gauge("schedule_paused", "1 when the schedule of backups is paused.", func(s *report.Status) (float64, bool) { return flag(s.Paused != nil) }),
	gauge("lease_held", "1 when somebody holds the promotion lease.", func(s *report.Status) (float64, bool) { return flag(s.Lease != nil && !s.Lease.Released) }),
	gauge("promotion_running", "1 while this instance is being promoted.", func(s *report.Status) (float64, bool) { return flag(s.Promotion != nil) }),
	gauge("demotion_running", "1 while this instance steps down, or owes a salvage backup.", func(s *report.Status) (float64, bool) { return flag(s.Demotion != nil) }),

	gauge("last_backup_age_seconds", "Age of the newest published backup.", func(s *report.Status) (float64, bool) { return known(s.LastBackupAge) }),
	gauge("last_backup_timestamp_seconds", "When the newest published backup was made.", func(s *report.Status) (float64, bool) {
		if s.LastBackup == nil {
			return 0, false
		}
		return timestamp(&s.LastBackup.Time)
	}),
	gauge("next_backup_seconds", "Until the next scheduled backup.", func(s *report.Status) (float64, bool) { return known(s.NextBackup) }),
	gauge("backup_last_attempt_timestamp_seconds", "When this process last began a backup.", func(s *report.Status) (float64, bool) { return timestamp(s.Stats.LastAttempt) }),
	gauge("backup_last_success_timestamp_seconds", "When this process last completed a backup.", func(s *report.Status) (float64, bool) { return timestamp(s.Stats.LastSuccess) }),
	gauge("backup_last_duration_seconds", "What the last completed backup of this process took.", func(s *report.Status) (float64, bool) {
		return s.Stats.BackupSeconds, s.Stats.LastSuccess != nil
	}),
	gauge("backup_last_attempt_duration_seconds", "What the last attempt at a backup took, whether or not it failed.", func(s *report.Status) (float64, bool) {
		return s.Stats.AttemptSeconds, s.Stats.AttemptSeconds > 0
	}),
	gauge("backup_last_attempt_failed", "1 when the last attempt at a backup failed.", func(s *report.Status) (float64, bool) {
		v, _ := flag(s.Stats.AttemptFailed)
		return v, s.Stats.LastAttempt != nil
	}),
	gauge("backup_interval_seconds", "Time between scheduled backups, as configured.", func(s *report.Status) (float64, bool) {
		if s.Config == nil {
			return 0, false
		}
		return always(time.Duration(s.Config.Frequency).Seconds())
	}),
	gauge("switchover_last_downtime_seconds", "For how long the last switchover to this instance kept the application stopped, at most.", func(s *report.Status) (float64, bool) {
		if s.Last == nil || s.Last.Downtime == 0 {
			return 0, false
		}
		return always(time.Duration(s.Last.Downtime).Seconds())
	}),
	counter("backup_attempts_total", "Backups begun.", func(s *report.Stats) int64 { return s.BackupAttempts }),
	counter("backup_failures_total", "Backups that failed.", func(s *report.Stats) int64 { return s.BackupFailures }),
	counter("pull_attempts_total", "Pulls of a backup into the cache begun.", func(s *report.Stats) int64 { return s.PullAttempts }),
	counter("pull_failures_total", "Pulls that failed.", func(s *report.Stats) int64 { return s.PullFailures }),
	counter("cache_packs_mended_total", "Cached packs that were damaged or missing, and were replaced by the bucket's.", func(s *report.Stats) int64 { return s.CacheMended }),
	counter("cache_packs_lost_total", "Times that a cached pack was damaged or missing, and could not be replaced.", func(s *report.Stats) int64 { return s.CacheLost }),
	counter("rehearsal_attempts_total", "Rehearsals of a backup begun.", func(s *report.Stats) int64 { return s.RehearsalAttempts }),
	counter("stage_damaged_entries_total", "Entries of the stage that were not as they were restored, and were restored again.", func(s *report.Stats) int64 { return s.StageDamaged }),
	counter("stage_rotten_entries_total", "Files of the stage that were read again and did not have the backup's content.", func(s *report.Stats) int64 { return s.StageRotten }),
	gauge("stage_last_read_timestamp_seconds", "When the content of what is staged was last read whole and compared with the backup.", func(s *report.Status) (float64, bool) {
		if s.StageRead == nil {
			return 0, false
		}
		return timestamp(s.StageRead.LastRead)
	}),
	counter("rehearsal_failures_total", "Rehearsals that failed.", func(s *report.Stats) int64 { return s.RehearsalFailures }),
	gauge("backup_overdue", "1 when no backup has been published for twice the interval and at least a quarter of an hour, though the schedule is not paused.", func(s *report.Status) (float64, bool) { return flag(s.BackupOverdue > 0) }),
	counter("webhooks_delivered_total", "Messages that reached a webhook.", func(s *report.Stats) int64 { return s.WebhooksDelivered }),
	counter("webhook_failures_total", "Attempts at a message to a webhook that failed.", func(s *report.Stats) int64 { return s.WebhookFailures }),
	counter("webhooks_lost_total", "Messages to webhooks that were given up.", func(s *report.Stats) int64 { return s.WebhooksLost }),

	gauge("cached_backups", "Backups in this instance's cache.", func(s *report.Status) (float64, bool) { return always(float64(len(s.Cached))) }),
	gauge("bucket_up", "1 when bucket and key are usable.", func(s *report.Status) (float64, bool) { return flag(s.Bucket == "ok") }),
	gauge("bucket_failing_seconds", "For how long the bucket has failed; 0: it answers.", func(s *report.Status) (float64, bool) { return always(s.BucketFailing) }),
	gauge("clock_skew_seconds", "The store's clock minus this host's.", func(s *report.Status) (float64, bool) { return always(s.ClockSkew) }),
	counter("notifications_sent_total", "Notifications sent to peers.", func(s *report.Stats) int64 { return s.NotificationsSent }),
	counter("notifications_failed_total", "Notifications that did not reach a peer.", func(s *report.Stats) int64 { return s.NotificationsFailed }),
	counter("notifications_received_total", "Verified notifications received.", func(s *report.Stats) int64 { return s.NotificationsGot }),
}

// statusCollector makes metrics of an agent's status when it is asked.
type statusCollector struct{ status func() report.Status }

// Describe implements prometheus.Collector.
func (c *statusCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range slices.Concat(instanceMetrics, retentionMetrics) {
		ch <- m.desc
	}
	for _, m := range slices.Concat(labelledMetrics, streamMetrics) {
		ch <- m.desc
	}
	ch <- latencyDesc
}

// Collect implements prometheus.Collector.
func (c *statusCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.status()
	for _, m := range slices.Concat(instanceMetrics, retentionMetrics) {
		if v, ok := m.value(&s); ok {
			ch <- prometheus.MustNewConstMetric(m.desc, m.kind, v)
		}
	}
	for _, m := range slices.Concat(labelledMetrics, streamMetrics) {
		for label, v := range m.values(&s) {
			ch <- prometheus.MustNewConstMetric(m.desc, m.kind, v, label)
		}
	}
	for operation, l := range s.Stats.BucketLatency {
		buckets := make(map[float64]uint64, len(l.Counts))
		for i, n := range l.Counts {
			buckets[control.LatencyBounds[i]] = n
		}
		ch <- prometheus.MustNewConstHistogram(latencyDesc, l.Count, l.Sum, buckets, operation)
	}
}

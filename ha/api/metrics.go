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

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/agent"
)

// addMetrics serves what the agent knows in Prometheus's format, from a
// registry of its own.
func (a *api) addMetrics(version string) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		&statusCollector{status: a.agent.Status, now: a.now},
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
	value func(*agent.Status) (float64, bool)
}

func gauge(name, help string, value func(*agent.Status) (float64, bool)) metric {
	return metric{prometheus.NewDesc("understudy_"+name, help, nil, nil), prometheus.GaugeValue, value}
}

func counter(name, help string, value func(*agent.Stats) int64) metric {
	return metric{prometheus.NewDesc("understudy_"+name, help, nil, nil), prometheus.CounterValue,
		func(s *agent.Status) (float64, bool) { return float64(value(&s.Stats)), true }}
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
	gauge("leading", "1 on the active that the bucket has confirmed in this process.", func(s *agent.Status) (float64, bool) { return flag(s.Leading) }),
	gauge("application_running", "1 when the application is known to run here.", func(s *agent.Status) (float64, bool) { return flag(s.App == "running") }),
	gauge("healthy", "1 when there is nothing that an operator should look at.", func(s *agent.Status) (float64, bool) { return flag(s.Healthy) }),
	gauge("refused", "1 when this instance is active by its own journal, but not by the head.", func(s *agent.Status) (float64, bool) { return flag(s.Refused != "") }),
	gauge("epoch", "The epoch: a counter of promotions.", func(s *agent.Status) (float64, bool) { return always(float64(s.Epoch)) }),
	gauge("uptime_seconds", "For how long the agent has run.", func(s *agent.Status) (float64, bool) { return always(s.Uptime) }),
	gauge("head_age_seconds", "Since the head was seen to change.", func(s *agent.Status) (float64, bool) { return known(s.HeadAge) }),
	gauge("active_alive", "1 when the active shows signs of life.", func(s *agent.Status) (float64, bool) { return flag(s.HeadAlive) }),
	gauge("schedule_paused", "1 when the schedule of backups is paused.", func(s *agent.Status) (float64, bool) { return flag(s.Paused != nil) }),
	gauge("lease_held", "1 when somebody holds the promotion lease.", func(s *agent.Status) (float64, bool) { return flag(s.Lease != nil && !s.Lease.Released) }),
	gauge("promotion_running", "1 while this instance is being promoted.", func(s *agent.Status) (float64, bool) { return flag(s.Promotion != nil) }),
	gauge("demotion_running", "1 while this instance steps down, or owes a salvage backup.", func(s *agent.Status) (float64, bool) { return flag(s.Demotion != nil) }),

	gauge("last_backup_age_seconds", "Age of the newest published backup.", func(s *agent.Status) (float64, bool) { return known(s.LastBackupAge) }),
	gauge("last_backup_timestamp_seconds", "When the newest published backup was made.", func(s *agent.Status) (float64, bool) {
		if s.LastBackup == nil {
			return 0, false
		}
		return timestamp(&s.LastBackup.Time)
	}),
	gauge("next_backup_seconds", "Until the next scheduled backup.", func(s *agent.Status) (float64, bool) { return known(s.NextBackup) }),
	gauge("backup_last_attempt_timestamp_seconds", "When this process last began a backup.", func(s *agent.Status) (float64, bool) { return timestamp(s.Stats.LastAttempt) }),
	gauge("backup_last_success_timestamp_seconds", "When this process last completed a backup.", func(s *agent.Status) (float64, bool) { return timestamp(s.Stats.LastSuccess) }),
	gauge("backup_last_duration_seconds", "What the last completed backup of this process took.", func(s *agent.Status) (float64, bool) {
		return s.Stats.BackupSeconds, s.Stats.LastSuccess != nil
	}),
	counter("backup_attempts_total", "Backups begun.", func(s *agent.Stats) int64 { return s.BackupAttempts }),
	counter("backup_failures_total", "Backups that failed.", func(s *agent.Stats) int64 { return s.BackupFailures }),
	counter("pull_attempts_total", "Pulls of a backup into the cache begun.", func(s *agent.Stats) int64 { return s.PullAttempts }),
	counter("pull_failures_total", "Pulls that failed.", func(s *agent.Stats) int64 { return s.PullFailures }),
	counter("rehearsal_attempts_total", "Rehearsals of a backup begun.", func(s *agent.Stats) int64 { return s.RehearsalAttempts }),
	counter("rehearsal_failures_total", "Rehearsals that failed.", func(s *agent.Stats) int64 { return s.RehearsalFailures }),
	gauge("backup_overdue", "1 when no backup has been published for twice the interval and at least a quarter of an hour, though the schedule is not paused.", func(s *agent.Status) (float64, bool) { return flag(s.BackupOverdue > 0) }),
	counter("webhooks_delivered_total", "Messages that reached a webhook.", func(s *agent.Stats) int64 { return s.WebhooksDelivered }),
	counter("webhook_failures_total", "Attempts at a message to a webhook that failed.", func(s *agent.Stats) int64 { return s.WebhookFailures }),
	counter("webhooks_lost_total", "Messages to webhooks that were given up.", func(s *agent.Stats) int64 { return s.WebhooksLost }),
	counter("hook_failures_total", "Hooks that failed.", func(s *agent.Stats) int64 { return s.HookFailures }),

	gauge("cached_backups", "Backups in this instance's cache.", func(s *agent.Status) (float64, bool) { return always(float64(len(s.Cached))) }),
	gauge("bucket_up", "1 when bucket and key are usable.", func(s *agent.Status) (float64, bool) { return flag(s.Bucket == "ok") }),
	gauge("bucket_failing_seconds", "For how long the bucket has failed; 0: it answers.", func(s *agent.Status) (float64, bool) { return always(s.BucketFailing) }),
	gauge("bucket_request_last_duration_seconds", "What the last request for a control object took.", func(s *agent.Status) (float64, bool) { return always(s.Stats.BucketSeconds) }),
	counter("bucket_requests_total", "Requests for control objects.", func(s *agent.Stats) int64 { return s.BucketRequests }),
	counter("bucket_errors_total", "Requests for control objects that failed.", func(s *agent.Stats) int64 { return s.BucketErrors }),
	gauge("clock_skew_seconds", "The store's clock minus this host's.", func(s *agent.Status) (float64, bool) { return always(s.ClockSkew) }),
	counter("notifications_sent_total", "Notifications sent to peers.", func(s *agent.Stats) int64 { return s.NotificationsSent }),
	counter("notifications_failed_total", "Notifications that did not reach a peer.", func(s *agent.Stats) int64 { return s.NotificationsFailed }),
	counter("notifications_received_total", "Verified notifications received.", func(s *agent.Stats) int64 { return s.NotificationsGot }),
}

// Metrics with labels.
var (
	roleDesc          = prometheus.NewDesc("understudy_role", "1 for the role that this instance has.", []string{"role"}, nil)
	backupSizeDesc    = prometheus.NewDesc("understudy_backup_last_size_bytes", "Size of the last completed backup of this process: of the state, of what was new in it, of what was stored.", []string{"part"}, nil)
	standbyLagDesc    = prometheus.NewDesc("understudy_standby_lag_seconds", "How much older an instance's newest cached backup is than the newest one.", []string{"instance"}, nil)
	standbyCachedDesc = prometheus.NewDesc("understudy_standby_cached_backups", "Backups that an instance says it has cached.", []string{"instance"}, nil)
	rehearsalAgeDesc  = prometheus.NewDesc("understudy_rehearsal_age_seconds", "Since an instance last rehearsed one of its cached backups with success.", []string{"instance"}, nil)
	rehearsalOKDesc   = prometheus.NewDesc("understudy_rehearsal_passed", "1 when an instance's newest rehearsal passed, 0 when it failed.", []string{"instance"}, nil)
	rehearsalTookDesc = prometheus.NewDesc("understudy_rehearsal_duration_seconds", "What an instance's newest rehearsal took.", []string{"instance"}, nil)
	standbySeenDesc   = prometheus.NewDesc("understudy_instance_last_seen_timestamp_seconds", "When an instance last wrote its record, by the store's clock.", []string{"instance"}, nil)
)

// statusCollector makes metrics of an agent's status when it is asked.
type statusCollector struct {
	status func() agent.Status
	now    func() time.Time
}

// Describe implements prometheus.Collector.
func (c *statusCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range instanceMetrics {
		ch <- m.desc
	}
	for _, d := range []*prometheus.Desc{roleDesc, backupSizeDesc, standbyLagDesc, standbyCachedDesc, standbySeenDesc, rehearsalAgeDesc, rehearsalOKDesc, rehearsalTookDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *statusCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.status()
	for _, m := range instanceMetrics {
		if v, ok := m.value(&s); ok {
			ch <- prometheus.MustNewConstMetric(m.desc, m.kind, v)
		}
	}
	send := func(d *prometheus.Desc, v float64, label string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, label)
	}
	for _, role := range []ha.Role{ha.RoleActive, ha.RoleStandby} {
		v, _ := flag(s.Role == role)
		send(roleDesc, v, string(role))
	}
	if s.Stats.LastSuccess != nil {
		size := s.Stats.BackupSize
		send(backupSizeDesc, float64(size.Logical), "logical")
		send(backupSizeDesc, float64(size.New), "new")
		send(backupSizeDesc, float64(size.Stored), "stored")
	}
	collectInstances(s.Instances, c.now(), send)
}

// collectInstances sends the table of instances. Those without a name have not
// joined, and have nothing to measure; a name counts once.
func collectInstances(all []agent.InstanceStatus, now time.Time, send func(*prometheus.Desc, float64, string)) {
	seen := make(map[string]bool, len(all))
	for _, i := range all {
		if i.Name == "" || seen[i.Name] || i.State == agent.StateRemoved {
			continue
		}
		seen[i.Name] = true
		if v, ok := timestamp(i.LastSeen); ok {
			send(standbySeenDesc, v, i.Name)
		}
		if i.Role != ha.RoleStandby {
			continue
		}
		if i.Lag >= 0 {
			send(standbyLagDesc, i.Lag, i.Name)
		}
		send(standbyCachedDesc, float64(len(i.Cached)), i.Name)
		collectRehearsals(i, now, send)
	}
}

// collectRehearsals sends how a standby's rehearsals went.
func collectRehearsals(i agent.InstanceStatus, now time.Time, send func(*prometheus.Desc, float64, string)) {
	passed := func(r ha.Rehearsal) bool { return r.Result == ha.RehearsalPassed }
	if len(i.Rehearsals) > 0 {
		newest := i.Rehearsals[0]
		ok, _ := flag(passed(newest))
		send(rehearsalOKDesc, ok, i.Name)
		send(rehearsalTookDesc, time.Duration(newest.Took).Seconds(), i.Name)
	}
	if good := slices.IndexFunc(i.Rehearsals, passed); good >= 0 {
		send(rehearsalAgeDesc, max(0, now.Sub(i.Rehearsals[good].Time)).Seconds(), i.Name)
	}
}

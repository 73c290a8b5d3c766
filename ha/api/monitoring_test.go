package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/understudy-ha/understudy/e2e/server"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/report"
	"github.com/understudy-ha/understudy/ha/staging"
	"github.com/understudy-ha/understudy/ha/upkeep"
)

// What is shipped for Prometheus, and what the documentation says of it.
const (
	monitoringFolder = "../../cmd/understudy/packaging/prometheus"
	rulesFile        = monitoringFolder + "/understudy.rules.yml"
	rulesTestFile    = monitoringFolder + "/understudy.rules_test.yml"
	dashboardFile    = monitoringFolder + "/understudy.dashboard.json"
	metricsDoc       = "../../docs/monitoring.md"
	runbook          = "../../docs/alerts.md"
)

// fullStatus is one in which everything is known.
func fullStatus(t *testing.T) report.Status {
	t.Helper()
	s := newFake(t).Status()
	s.StageRead = &staging.StageRead{LastRead: &then}
	s.Stats.AttemptSeconds, s.Stats.OldestPack = 2, &then
	s.Stats.BucketLatency = map[string]control.Latency{"read": {Count: 1, Sum: 0.2}}
	s.Stats.Snapshots = map[string]report.Snapshot{"db": {Age: 1, Last: 2}}
	s.Last = &ha.Result{Promoted: true, Downtime: ha.Duration(3 * time.Second)}
	s.Retention = &upkeep.RetentionStatus{AppliedBy: upkeep.AppliedByBucket, RulesRead: &then, LastSweep: &then}
	s.Instances[1].Rehearsals = []ha.Rehearsal{{Result: ha.RehearsalPassed, Took: ha.Duration(time.Second), Time: then}}
	s.Federation = &report.FederationStatus{Target: "b:9090"}
	s.Streams = []report.StreamStatus{{Source: "db", Stream: "3-1", Runs: true, Based: true, Confirmed: true, Part: 4, To: 900, Behind: -1, Lag: -1, Kept: &report.KeptLog{Time: then, Bytes: 16 << 20, Room: 1 << 30, Synced: true, Waits: true, BaseDue: then}}, {Source: "other", Replica: true, Runs: true, Age: -1}}
	s.Stats.Shipped = map[string]report.Shipped{"db": {Parts: 4, Bytes: 900}}
	return s
}

// everyMetric gives all that an agent measures of itself, and fails the test for
// what is described and cannot be seen.
func everyMetric(t *testing.T) []*dto.MetricFamily {
	t.Helper()
	families := gather(t, fullStatus(t), buildInfo("1.2.3"))
	described := make(chan *prometheus.Desc)
	go func() {
		(&statusCollector{}).Describe(described)
		close(described)
	}()
	name := regexp.MustCompile(`fqName: "([a-z_]+)"`)
	for d := range described {
		is := func(f *dto.MetricFamily) bool { return f.GetName() == name.FindStringSubmatch(d.String())[1] }
		if !slices.ContainsFunc(families, is) {
			t.Errorf("no status shows %v: add to fullStatus", d)
		}
	}
	return families
}

func readText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.FromSlash(path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestPromtoolHasNothingToSayOfTheMetrics(t *testing.T) {
	s := start(t, "")
	s.fake.change(func() { s.fake.status = fullStatus(t) })
	if out, err := server.Promtool(t, s.tcp(t, "GET", "/metrics", "").body, "check", "metrics"); err != nil || out != "" {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

// TestAlertsFireWhenTheyShould runs the rules' own tests.
func TestAlertsFireWhenTheyShould(t *testing.T) {
	for _, args := range [][]string{{"check", "rules", rulesFile}, {"test", "rules", rulesTestFile}} {
		if out, err := server.Promtool(t, "", args...); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

type rule struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func alertRules(t *testing.T) []rule {
	t.Helper()
	var file struct {
		Groups []struct {
			Name  string `yaml:"name"`
			Rules []rule `yaml:"rules"`
		} `yaml:"groups"`
	}
	if err := yaml.UnmarshalWithOptions([]byte(readText(t, rulesFile)), &file, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	var all []rule
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) == 0 {
		t.Fatal("no rules")
	}
	return all
}

func TestEveryAlertSaysWhatToDo(t *testing.T) {
	tests, headings := readText(t, rulesTestFile), readText(t, runbook)
	for _, r := range alertRules(t) {
		if s := r.Labels["severity"]; s != "critical" && s != "warning" {
			t.Errorf("%s: severity %q", r.Alert, s)
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("%s: annotations %v", r.Alert, r.Annotations)
		}
		if want := "docs/alerts.md#" + strings.ToLower(r.Alert); !strings.HasSuffix(r.Annotations["runbook_url"], want) {
			t.Errorf("%s: runbook_url %s, want …%s", r.Alert, r.Annotations["runbook_url"], want)
		}
		if !strings.Contains(headings, "\n## "+r.Alert+"\n") {
			t.Errorf("docs/alerts.md has no heading %s", r.Alert)
		}
		if !strings.Contains(tests, `exp_samples: [{labels: '{alertname="`+r.Alert+`"}', value: 1}]`) {
			t.Errorf("no test has %s fire alone", r.Alert)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^## (Understudy\w+)$`).FindAllStringSubmatch(headings, -1) {
		if !slices.ContainsFunc(alertRules(t), func(r rule) bool { return r.Alert == m[1] }) {
			t.Errorf("docs/alerts.md tells of an alert %s that does not exist", m[1])
		}
	}
}

// dashboardQueries gives all expressions of the dashboard.
func dashboardQueries(t *testing.T) []string {
	t.Helper()
	var board any
	if err := json.Unmarshal([]byte(readText(t, dashboardFile)), &board); err != nil {
		t.Fatal(err)
	}
	var all []string
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			for _, key := range slices.Sorted(maps.Keys(v)) {
				if text, ok := v[key].(string); ok && key == "expr" {
					all = append(all, text)
				}
				walk(v[key])
			}
		}
	}
	walk(board)
	if len(all) < 20 {
		t.Fatalf("%d queries in the dashboard", len(all))
	}
	return all
}

func TestDashboardQueriesAreGood(t *testing.T) {
	variables := strings.NewReplacer("$__rate_interval", "5m", "$cluster", ".*", "$instance", ".*")
	var text strings.Builder
	text.WriteString("groups:\n- name: dashboard\n  rules:\n")
	for i, query := range dashboardQueries(t) {
		fmt.Fprintf(&text, "  - {record: query_%d, expr: %q}\n", i, variables.Replace(query))
	}
	path := filepath.Join(t.TempDir(), "queries.yml")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := server.Promtool(t, "", "check", "rules", path); err != nil {
		t.Errorf("queries of the dashboard: %v\n%s", err, out)
	}
}

// TestRulesAndDashboardAskForWhatThereIs: a metric that is renamed is renamed
// there too.
func TestRulesAndDashboardAskForWhatThereIs(t *testing.T) {
	there := map[string]bool{}
	for _, f := range everyMetric(t) {
		there[f.GetName()] = true
		if f.GetType() == dto.MetricType_HISTOGRAM {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				there[f.GetName()+suffix] = true
			}
		}
	}
	queries := dashboardQueries(t)
	for _, r := range alertRules(t) {
		queries = append(queries, r.Expr)
	}
	queries = append(queries, readText(t, rulesTestFile))
	name := regexp.MustCompile(`\bunderstudy_\w+`)
	for _, query := range queries {
		for _, metric := range name.FindAllString(query, -1) {
			if !there[metric] {
				t.Errorf("there is no metric %s: %s", metric, query[:min(len(query), 200)])
			}
		}
	}
}

// TestDocumentedMetricsAreTheRealOnes: the table says what a scrape says.
func TestDocumentedMetricsAreTheRealOnes(t *testing.T) {
	var table strings.Builder
	table.WriteString("| metric | type | meaning |\n| --- | --- | --- |\n")
	for _, f := range everyMetric(t) {
		name := f.GetName()
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		if len(labels) > 0 {
			name += "{" + strings.Join(labels, ", ") + "}"
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s |\n", name, strings.ToLower(f.GetType().String()), f.GetHelp())
	}
	if !strings.Contains(readText(t, metricsDoc), "\n\n"+table.String()+"\n") {
		t.Errorf("docs/monitoring.md does not have this table:\n\n%s", table.String())
	}
}

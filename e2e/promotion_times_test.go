package e2e

import (
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
)

var (
	promotionSizes = flag.String("promotion.sizes", "4MiB", "sizes of state, with commas between, for which promotions are measured")
	promotionKinds = flag.String("promotion.kinds", "directory,postgres", "kinds of state, with commas between")
	promotionTries = flag.Int("promotion.tries", 1, "how many rehearsed promotions of each state are measured; the median counts")
	promotionOut   = flag.String("promotion.out", "", "file to write what was measured to")
)

// A rehearsed promotion of the largest state may take this many times as long
// as that of the smallest, and a little more, for what is noise; and so long at
// most.
const (
	promotionRatio = 1.5
	promotionNoise = 50 * time.Millisecond
	promotionLimit = 2 * time.Second
)

// TestPromotionTimes measures promotions of a standby that has rehearsed the
// backup, and of one that has not, step by step: without the help of the old
// active, which is down, and with hooks that do nothing. In the tests it looks at
// a small state alone, and that each is what it is said to be; `make bench` has it
// measure large ones, and hold the promise.
func TestPromotionTimes(t *testing.T) {
	var sizes []int64
	for _, text := range strings.Split(*promotionSizes, ",") {
		n, err := humanize.ParseBytes(strings.TrimSpace(text))
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, int64(n))
	}
	slices.Sort(sizes)
	var report promotionReport
	for kind := range strings.SplitSeq(*promotionKinds, ",") {
		var rehearsed []time.Duration
		for _, size := range sizes {
			t.Run(fmt.Sprint(kind, " of ", humanize.IBytes(uint64(size))), func(t *testing.T) {
				m := measurePromotions(t, kind, size)
				report.add(m)
				report.write(t) // what comes after may take long
				rehearsed = append(rehearsed, median(m.rehearsed).total())
			})
		}
		if len(rehearsed) == len(sizes) && len(sizes) > 1 {
			report.judge(t, kind, sizes, rehearsed)
		}
	}
	report.write(t)
	t.Log("\n" + report.String())
}

// promotionTimes are the steps of one promotion, by name.
type promotionTimes map[string]time.Duration

// timedSteps lie between the lease and the application's start. What is dropped
// comes after.
var timedSteps = []string{"restore", "swap", "commit", "marker", "old active", "start"}

func (p promotionTimes) total() (sum time.Duration) {
	for _, name := range timedSteps {
		sum += p[name]
	}
	return sum
}

// measuredPromotions is what was measured for one kind and size of state.
type measuredPromotions struct {
	kind              string
	size              int64
	backup, rehearsal time.Duration
	rehearsed         []promotionTimes
	unprepared        promotionTimes
}

// median is the one in the middle, by how long it took.
func median(all []promotionTimes) promotionTimes {
	sorted := slices.SortedFunc(slices.Values(all), func(p, q promotionTimes) int { return cmp.Compare(p.total(), q.total()) })
	return sorted[len(sorted)/2]
}

// measurePromotions makes a cluster of three hosts around a state, promotes two
// of them in turn, each of which has rehearsed it, and then the one that has not.
func measurePromotions(t *testing.T, kind string, size int64) measuredPromotions {
	w := newWeight(t, kind)
	c := newCluster(t, "file://"+t.TempDir(), nil)
	a, b, d := w.host(c, "host-a", ""), w.host(c, "host-b", ""), w.host(c, "host-d", "rehearsal: off\n")
	w.fill(t, a.app.(*weight), size)
	m := measuredPromotions{kind: kind, size: size}

	a.run("init")
	a.serve()
	first := a.long("has made the first backup", func(s report.Status) bool { return s.LastBackup != nil && s.Leading })
	for _, kv := range [][2]string{{"stop_timeout", "2s"}, {"margin", "1s"}, {"ttl", "6s"}, {"frequency", "24h"}} {
		a.run("config", "set", kv[0], kv[1])
	}
	m.backup = time.Duration(first.Stats.BackupSeconds * float64(time.Second))
	for _, h := range []*host{b, d} {
		h.run("join")
		h.serve()
	}
	for range *promotionTries {
		if len(m.rehearsed) > 0 {
			b.serve() // it was the active before
		}
		newest := a.long("has a backup", func(s report.Status) bool { return s.Leading && s.LastBackup != nil && s.LastBackup.Epoch == s.Epoch }).LastBackup.ID
		ready := b.long("has rehearsed the backup", func(s report.Status) bool { return s.Staged == newest && s.State == report.StateInSync })
		for _, i := range ready.Instances {
			if i.Self && m.rehearsal == 0 {
				m.rehearsal = time.Duration(i.Rehearsals[0].Took)
			}
		}
		d.long("has the backup", func(s report.Status) bool { return s.State == report.StateInSync })
		a.killAgent()
		m.rehearsed = append(m.rehearsed, failOver(t, a, b, "rehearsed"))
		w.same(t, a, b)
		a, b = b, a
	}
	newest := a.long("has a backup", func(s report.Status) bool { return s.Leading && s.LastBackup.Epoch == s.Epoch }).LastBackup.ID
	d.long("has the backup", func(s report.Status) bool {
		return s.State == report.StateInSync && len(s.Cached) > 0 && s.Cached[0].ID == newest
	})
	a.killAgent()
	m.unprepared = failOver(t, a, d, "restored")
	w.same(t, a, d)
	return m
}

// failOver promotes a host in place of one that is gone, and gives the steps.
func failOver(t *testing.T, old, h *host, want string) promotionTimes {
	t.Helper()
	h.long("sees that the active is gone", func(s report.Status) bool { return s.Active == old.name && !s.HeadAlive })
	word("sync") // a standby at rest has nothing left to write
	out := h.runLong("promote", "--failover", "--yes", "--json")
	var p promotions.PromotionStatus
	if err := json.Unmarshal([]byte(out), &p); err != nil || p.State != promotions.PromotionDone {
		t.Fatalf("promotion: %v\n%s", err, out)
	}
	times := promotionTimes{}
	for _, s := range p.Steps {
		times[s.Name] += time.Duration(s.Took)
	}
	i := slices.IndexFunc(p.Steps, func(s ha.Step) bool { return s.Name == "restore" })
	if i < 0 || !strings.Contains(p.Steps[i].Note, ": "+want) {
		t.Fatalf("%s: want a promotion that is %q: %+v", h.name, want, p.Steps)
	}
	return times
}

// promotionReport is what was measured.
type promotionReport struct {
	rows   []string
	judged []string
}

func (r *promotionReport) add(m measuredPromotions) {
	for _, p := range []struct {
		how   string
		times promotionTimes
	}{{"rehearsed", median(m.rehearsed)}, {"not rehearsed", m.unprepared}} {
		row := []string{m.kind, humanize.IBytes(uint64(m.size)), p.how}
		for _, name := range timedSteps {
			row = append(row, brief(p.times[name]))
		}
		row = append(row, "**"+brief(p.times.total())+"**", brief(m.backup), brief(m.rehearsal))
		r.rows = append(r.rows, "| "+strings.Join(row, " | ")+" |")
	}
}

// write writes the report to the file that is asked for.
func (r *promotionReport) write(t *testing.T) {
	t.Helper()
	if *promotionOut == "" {
		return
	}
	if err := os.WriteFile(*promotionOut, []byte(r.page()), 0o644); err != nil {
		t.Error(err)
	}
}

func brief(d time.Duration) string {
	if d < 10*time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(100 * time.Millisecond).String()
}

// judge compares the rehearsed promotions of the smallest and the largest
// state.
func (r *promotionReport) judge(t *testing.T, kind string, sizes []int64, took []time.Duration) {
	t.Helper()
	least, most := took[0], took[len(took)-1]
	line := fmt.Sprintf("- %s: the rehearsed promotion of %s took %.2f times as long as that of %s (%v and %v).",
		kind, humanize.IBytes(uint64(sizes[len(sizes)-1])), most.Seconds()/max(least, time.Millisecond).Seconds(), humanize.IBytes(uint64(sizes[0])), brief(most), brief(least))
	r.judged = append(r.judged, line)
	if float64(most) > promotionRatio*float64(least)+float64(promotionNoise) || most > promotionLimit {
		t.Errorf("%s The promise is at most %v times as long, give or take %v, and under %v.", line, promotionRatio, promotionNoise, promotionLimit)
	}
}

// String is the table of what was measured.
func (r *promotionReport) String() string {
	head := append(append([]string{"state", "size", "standby"}, timedSteps...), "**lease to start**", "(backup)", "(rehearsal)")
	text := "| " + strings.Join(head, " | ") + " |\n|" + strings.Repeat(" --- |", len(head)) + "\n" + strings.Join(r.rows, "\n") + "\n"
	if len(r.judged) > 0 {
		text += "\n" + strings.Join(r.judged, "\n") + "\n"
	}
	return text
}

// waitForTheOldActive says what the promotions that are measured leave out.
const waitForTheOldActive = "`old active` is the wait for the application of the active before, which here had been silent for longer than its lease: nothing. A failover that begins sooner waits until that application has stopped: with `available` fencing at most two polls and the stop time-out (40 s by default, 22 s with a poll of 1 s) unless `--host-is-off` says that nothing can run there, with `strict` the TTL and the margin (70 s by default) from the last sign of life. That wait is nearly the whole downtime of such a failover; `understudy promote --failover --dry-run` tells it beforehand. An active whose agent ended in good order together with its application, or that had handed over, is not waited for."

// page is the report with what has to be known about the machine.
func (r *promotionReport) page() string {
	return "# Benchmarks\n\n`make bench` wrote this file. Its promotions are failovers with the old active down and hooks that do nothing, " +
		"by the shipped program, on a local folder as the bucket; the standbys are on the same machine. A step's time is what `understudy promote` prints" +
		of(*promotionTries) + ". " +
		"A directory is files of 256 KiB with content that cannot be compressed; a PostgreSQL database is rows of 1 KiB with a primary key, on a server that does not wait for its disk.\n\n" +
		"`restore` of a standby that has rehearsed is a look at the fingerprint of the stage. What was replaced is set aside once the application was started, and deleted beside everything else. " +
		"Backup (all data new, deduplicated, compressed, encrypted) and rehearsal (at low priority) are those that came before, from nothing.\n\n" +
		waitForTheOldActive + "\n\n" +
		"Measured on " + machine() + ".\n\n" + r.String()
}

// of says of how many rehearsed promotions the median is shown.
func of(tries int) string {
	if tries == 1 {
		return ""
	}
	return fmt.Sprintf("; of %d rehearsed promotions the one is shown that took the median", tries)
}

// machine says what was measured on.
func machine() string {
	facts := []string{
		time.Now().UTC().Format("2006-01-02"),
		field("/proc/cpuinfo", "model name") + fmt.Sprintf(" (%d processors)", countOf("/proc/cpuinfo", "processor\t")),
		"memory " + field("/proc/meminfo", "MemTotal"),
		"Linux " + word("uname", "-r"),
		"file system " + strings.Join(strings.Fields(word("stat", "-f", "-c", "%T", os.TempDir())), " "),
		word("go", "env", "GOVERSION"),
		word("psql", "--version"),
	}
	return strings.Join(facts, ", ")
}

func field(file, name string) string {
	text, _ := os.ReadFile(file)
	for line := range strings.Lines(string(text)) {
		if key, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return name + " not known"
}

func countOf(file, prefix string) (n int) {
	text, _ := os.ReadFile(file)
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, prefix) {
			n++
		}
	}
	return n
}

func word(name string, args ...string) string {
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		return name + " not known"
	}
	return cmp.Or(strings.TrimSpace(string(out)), name+" not known")
}

// measuring bounds what a large state may have take.
const measuring = 40 * time.Minute

// long waits for something about a host's status that a large state may have
// take long.
func (h *host) long(what string, is func(report.Status) bool) (s report.Status) {
	h.t.Helper()
	within(h.t, measuring, h.name+": "+what, func() error {
		s = h.status()
		if !is(s) {
			return fmt.Errorf("state %q, work %q, problems %q", s.State, s.Work, s.Problems)
		}
		return nil
	})
	return s
}

// runLong runs a command that a large state may have take long.
func (h *host) runLong(args ...string) string {
	h.t.Helper()
	r := h.tryFor(measuring, args...)
	if r.code != 0 {
		h.t.Fatal(errors.New(r.errout))
	}
	return r.out
}

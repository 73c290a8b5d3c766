package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/understudy-ha/understudy/e2e/server"
)

var (
	streamsSeconds = flag.Int("streams.seconds", 3, "for how long it is looked how old what each way to ship PostgreSQL's log has shipped is, and then what a writer feels of it")
	streamsTries   = flag.Int("streams.tries", 1, "how often each is measured; the median counts")
	streamsPairs   = flag.Int("streams.pairs", 1, "how often what a writer feels is measured with and without streams in turn, on one server, for a quarter of streams.seconds each")
	streamsOnly    = flag.String("streams.only", "", "which ways are measured, with semicolons; all of them otherwise")
	streamsSizes   = flag.String("streams.sizes", "16MiB", "sizes of a server, with commas between, for which promotions are measured; none where empty")
	streamsTurns   = flag.Int("streams.turns", 1, "how many switchovers of each size are measured; the median counts")
	streamsDir     = flag.String("streams.dir", "", "where the bucket is; in memory, it does not share the servers' disk, as no bucket does")
	streamsOut     = flag.String("streams.out", "", "file to write what was measured to; the targets are held then")
)

// Ways to ship a server's log.
const (
	nothing      = "nothing"
	ourStreams   = "understudy"
	backrest     = "pgBackRest, 1 s"
	backrestSlow = "pgBackRest, 10 s"
	walg         = "WAL-G, 1 s"
)

// What is measured of each.
const (
	ageMiddle     = "age, p50"
	ageMost       = "age, p99"
	sentRate      = "uploaded a minute"
	receivedRate  = "downloaded a minute"
	requestRate   = "requests a minute"
	serverEffort  = "processor time of the server"
	toolEffort    = "processor time of the tool"
	commitMiddle  = "commit, p50"
	commitMost    = "commit, p99"
	commitSlower  = "commit, p99, of that before"
	commitsSecond = "commits a second"
)

// Targets of streams.
const (
	mostAge         = 1300 * time.Millisecond
	mostSlower      = 1.05
	mostStopped     = 3 * time.Second
	mostStoppedMore = 1.3
)

// TestStreamsBesideOthers measures what ships the log of a PostgreSQL server to a MinIO
// server, beside pgBackRest and, where the variable WALG names its program, WAL-G: how old
// what could be restored is, what that costs, and what a writer feels of it. Then it
// measures promotions of a standby whose replica follows. In the tests it looks for
// seconds, at a small server; `make bench` has it measure longer, and hold the targets.
func TestStreamsBesideOthers(t *testing.T) {
	c := &shippings{t: t, m: server.MinIOBelow(t, *streamsDir), ways: []string{nothing, ourStreams, backrest, backrestSlow}, values: make(map[string]map[string][]float64)}
	if os.Getenv("WALG") != "" {
		c.ways = append(c.ways, walg)
	}
	if *streamsOnly != "" {
		c.ways = strings.Split(*streamsOnly, ";")
	}
	c.m.Yield(t)
	for try := range *streamsTries {
		// Another one begins with each try, so that none always comes after the same.
		first := try % len(c.ways)
		for _, name := range slices.Concat(c.ways[first:], c.ways[:first]) {
			t.Run(fmt.Sprint(name, " ", try+1), func(t *testing.T) { c.measure(t, name) })
		}
		c.write() // what comes after may take long
	}
	c.m = server.MinIOBelow(t, *streamsDir)
	c.promotions(t)
	c.judge()
	c.write()
	t.Log("\n" + c.table() + "\n" + c.paired.text() + c.promoted.table() + "\n" + strings.Join(c.judged, "\n"))
}

// shippings is what was measured, by what and whose way.
type shippings struct {
	t        *testing.T
	m        *server.MinIOServer
	ways     []string
	values   map[string]map[string][]float64
	paired   spans
	promoted serverPromotions
	judged   []string
}

func (c *shippings) note(what, whose string, value float64) {
	if c.values[what] == nil {
		c.values[what] = make(map[string][]float64)
	}
	c.values[what][whose] = append(c.values[what][whose], value)
}

// measure has a way ship the log of a new server while rows are written.
func (c *shippings) measure(t *testing.T, name string) {
	way := newWay(t, c.m, name)
	pg := server.NewPostgresFolder(t, way.settings()...)
	pg.Durable = true
	pg.Start(t)
	span := time.Duration(*streamsSeconds) * time.Second
	before := latenciesOf(t, pg, span)
	w := timedWriter{table: "written"}
	w.create(t, pg.DSN("postgres"))
	way.begin(t, pg)
	end := w.writes(t, pg)
	seen := watch(t, c.m, way)
	seen.isShipped(t, w.position, name)

	looked := time.Now()
	select {
	case <-time.After(span):
	case <-seen.done:
		t.Fatal("nobody looks at the bucket any more")
	}
	unseen, positions := time.Now(), seen.end()

	// Whoever looks at the bucket takes processors from the writer, and more where there is more
	// to see: what a writer feels is measured while nobody does.
	began, spent := time.Now(), spentBy(t, pg, way)
	way.meter().reset()
	<-time.After(span)
	requests, up, down := way.meter().read()
	ended, spentSince := time.Now(), spentBy(t, pg, way)
	end()
	if ours, ok := way.(*streamsWay); ok && len(c.paired.alone) == 0 {
		c.paired = spansOf(t, pg, ours, *streamsPairs, span/4)
	}

	took := ended.Sub(began)
	c.note(requestRate, name, float64(requests)/took.Minutes())
	c.note(sentRate, name, float64(up)/took.Minutes())
	c.note(receivedRate, name, float64(down)/took.Minutes())
	c.note(serverEffort, name, (spentSince.server-spent.server).Seconds()/took.Seconds())
	c.note(toolEffort, name, (spentSince.tool-spent.tool).Seconds()/took.Seconds())
	latencies := w.latencies(began, ended)
	c.note(commitsSecond, name, float64(len(latencies))/took.Seconds())
	c.note(commitMiddle, name, portion(latencies, 0.5).Seconds())
	c.note(commitMost, name, portion(latencies, 0.99).Seconds())
	c.note(commitSlower, name, portion(latencies, 0.99).Seconds()/portion(before, 0.99).Seconds())
	t.Logf("a commit took %v (p50), %v (p99); before %s %v, %v", portion(latencies, 0.5), portion(latencies, 0.99), name, portion(before, 0.5), portion(before, 0.99))
	if name == nothing {
		return
	}
	ages := w.ages(positions, looked, unseen)
	c.note(ageMiddle, name, portion(ages, 0.5).Seconds())
	c.note(ageMost, name, portion(ages, 0.99).Seconds())
}

// latenciesOf are those of a server's commits while nobody ships its log. No two servers are
// alike, by where their files lie: what a writer feels is compared on the same one.
func latenciesOf(t *testing.T, pg *server.PostgresFolder, span time.Duration) []time.Duration {
	t.Helper()
	w := timedWriter{table: "before"}
	w.create(t, pg.DSN("postgres"))
	end := w.writes(t, pg)
	defer end()
	began := time.Now()
	<-time.After(span)
	return w.latencies(began, time.Now())
}

// portion is the value that this portion of others does not exceed.
func portion(all []time.Duration, share float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]
}

// middle is the median of what was measured; false when nothing was.
func (c *shippings) middle(what, whose string) (float64, bool) {
	all := slices.Sorted(slices.Values(c.values[what][whose]))
	if len(all) == 0 {
		return 0, false
	}
	return all[len(all)/2], true
}

// judge holds the targets where they are measured for the page, and elsewhere that it works.
func (c *shippings) judge() {
	age, known := c.middle(ageMost, ourStreams)
	if !known {
		return
	}
	if *streamsOut == "" && age > 10 {
		c.t.Errorf("what could be restored was %.1f s old", age)
	}
	c.hold("age, p99", age, mostAge.Seconds(), "s")
	if most, err := c.paired.felt(0.99); err == nil {
		c.hold("p99 of a writer's commits", most.ratio, mostSlower, "times")
		if most.least <= mostSlower && most.most > mostSlower {
			c.judged[len(c.judged)-1] += fmt.Sprintf(" Nine of ten such measurements lie between %.2f and %.2f: this is **not decided**.", most.least, most.most)
		}
	}
	for _, one := range c.promoted.targets() {
		c.hold(one.what, one.value, one.most, one.unit)
	}
}

func (c *shippings) hold(what string, value, most float64, unit string) {
	word := "held"
	if value > most {
		word = "**missed**"
		if *streamsOut != "" {
			c.t.Errorf("%s: %.2f %s, want %.2f at most", what, value, unit, most)
		}
	}
	c.judged = append(c.judged, fmt.Sprintf("- %s: %.2f %s, the target is %.2f at most: %s.", what, value, unit, most, word))
}

// streamsRow is a line of the table.
type streamsRow struct {
	what  string
	shows func(float64) string
}

var streamsRows = []streamsRow{
	{ageMiddle, showSeconds}, {ageMost, showSeconds},
	{sentRate, showBytes}, {receivedRate, showBytes}, {requestRate, func(n float64) string { return fmt.Sprintf("%.0f", n) }},
	{serverEffort, showShare}, {toolEffort, showShare},
	{commitsSecond, func(n float64) string { return fmt.Sprintf("%.0f", n) }},
	{commitMiddle, showMillis}, {commitMost, showMillis}, {commitSlower, func(n float64) string { return fmt.Sprintf("%.2f", n) }},
}

func showSeconds(n float64) string { return fmt.Sprintf("%.2f s", n) }
func showMillis(n float64) string  { return fmt.Sprintf("%.2f ms", 1000*n) }
func showShare(n float64) string   { return fmt.Sprintf("%.1f%%", 100*n) }
func showBytes(n float64) string   { return humanize.IBytes(uint64(n)) }

// table has a line for each thing, and a column for each way.
func (c *shippings) table() string {
	var b strings.Builder
	b.WriteString("| | " + strings.Join(c.ways, " | ") + " |\n|" + strings.Repeat(" --- |", len(c.ways)+1) + "\n")
	line := func(what string, value func(whose string) (string, bool)) {
		b.WriteString("| " + what + " |")
		for _, whose := range c.ways {
			text, known := value(whose)
			if !known {
				text = "–"
			}
			b.WriteString(" " + text + " |")
		}
		b.WriteString("\n")
	}
	for _, row := range streamsRows {
		line(row.what, func(whose string) (string, bool) {
			value, known := c.middle(row.what, whose)
			return row.shows(value), known
		})
	}
	return b.String()
}

// write writes the page to the file that is asked for.
func (c *shippings) write() {
	if *streamsOut == "" {
		return
	}
	if err := os.WriteFile(*streamsOut, []byte(c.page()), 0o644); err != nil {
		c.t.Error(err)
	}
}

// page is what was measured, with what has to be known about it.
func (c *shippings) page() string {
	where := ""
	if *streamsDir != "" {
		where = "; the servers have its disk for themselves: MinIO's drive is in " + *streamsDir
	}
	text := "# Streams beside others\n\n" + fmt.Sprintf("`make bench` wrote this file. A writer commits a row of about 100 bytes 200 times a second to a PostgreSQL server that waits for its disk, "+
		"while its log is shipped to a MinIO server on the same machine, by each tool in turn, and by none. Medians of %d runs, each with a new server, after a base backup: for %d s it is looked how old what was shipped is, and for as long again what that costs, and what the writer feels of it. *Before* is the same server, for as long, before its log was shipped; no two servers are alike, by where their files lie.\n\n", *streamsTries, *streamsSeconds) +
		"*Age* is how much of what the writer was told to be committed could not be restored if the active vanished now, in seconds. Every 50 ms the bucket is listed for the newest log in it, and what that holds is compared with the position of each row: a row counts once the log reaches the row after it. Nobody looks while the rest is measured. " +
		"Requests and bytes are what a proxy before MinIO has counted: all of the agent's, with its heartbeats, and no backup. Processor time is a share of one processor: the server's with its senders, the tool's with what it starts. A commit is timed by the writer. " +
		"The writer, the server, the tool, the proxy and MinIO share the machine" + where + ". MinIO stands for a store on another machine: it has the lowest priority (nice 19), with every tool; the promotions have one of their own, which has not.\n\n" +
		"- understudy: as it is after `understudy init`, with a `postgres_cluster` source; it compresses and encrypts.\n" +
		"- pgBackRest: " + backrestVersion() + ", `archive-push` to S3 (through TLS, which the proxy ends: pgBackRest takes no other) with zstd and its own encryption; `archive_timeout` is named in the column.\n" +
		"- WAL-G: " + walgVersion() + ".\n\n" +
		"Measured on " + machine() + ".\n\n" + c.table() + "\n"
	text += c.paired.text()
	if c.promoted.any() {
		text += "## Promotions\n\n" + c.promoted.text() + c.promoted.table() + "\n"
	}
	if len(c.judged) > 0 {
		text += "## Targets\n\n" + strings.Join(c.judged, "\n") + "\n"
	}
	return text
}

func backrestVersion() string {
	return strings.TrimPrefix(word("pgbackrest", "version"), "pgBackRest ")
}

// walgVersion says which WAL-G was measured.
func walgVersion() string {
	const whence = "the Go proxy has no version of it, so `make bench` measures it where somebody has built it in its source (`WALG=/path/of/wal-g`)"
	bin := os.Getenv("WALG")
	if bin == "" {
		return whence + "; here nobody had"
	}
	out, err := exec.Command(bin, "--version").Output()
	if err != nil {
		return whence
	}
	version, _, _ := strings.Cut(strings.TrimPrefix(string(out), "wal-g version "), "\n")
	fields := strings.Fields(version)
	return strings.Join(fields[:min(1, len(fields))], "") + ", `wal-push` with zstd, not encrypted; " + whence
}

package e2e

import (
	"bufio"
	"cmp"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

var (
	growthIn  = flag.String("growth.in", "", "file with the output of the benchmarks of growth")
	growthOut = flag.String("growth.out", "", "file for the page that shows it")
	// What else went on while it was measured.
	growthNote = flag.String("growth.note", "", "a sentence for that page")
)

// curve is a benchmark on the page of growth.
type curve struct {
	benchmark, title, about string
	steps                   []string // a row each
}

var curves = []curve{
	{"IdleAgent", "An idle agent", "An active at default settings that has nothing to do but to poll, with a bucket on a MinIO server of the same machine. Ready is from the start of the process until it serves its API. What only the start needs is given back after 30 seconds: pages of the program, and what the heap holds unused.",
		[]string{"ready", "peak", "resident", "of-which-own", "idle"}},
	{"GrowthOfFiles", "Files", "A directory of small files, 1,000 in a folder. The processors' time for one file, user and system, and the peak of the process's resident memory: of a first backup, of one in which nothing changed, of one in which a file of each 1,000 changed, of a stage, of that stage brought forward by the change, of a look at the stage's fingerprint, and of the comparison of each staged file with its marks. `os.WriteFile` is what writing such a file costs on that file system, without anything of Understudy's. Where a time rises at a million files, it is the kernel's: what it knows of that many files no longer fits its caches, and each `stat` and `open` reads it again.",
		[]string{"first", "unchanged", "0.1%-changed", "stage", "advance", "fingerprint", "compared", "os.WriteFile"}},
	{"GrowthOfBackups", "Backups in the bucket", "Backups a minute apart, and the requests of what people do, by a process that has just started (a list is one request for each thousand objects), and the processors' time: the first page of the list (200 backups), the same page again, as the console shows it, the newest backup, and the oldest one found by its id and opened, as a restore begins. A page is read backwards, in spans of time that double.",
		[]string{"list", "listed-again", "newest", "oldest-opened"}},
	{"GrowthOfStandbys", "Standbys", "Agents at default settings, all on this machine, with a bucket on a MinIO server. From the publication of a backup of 1 MB until the last standby, and the middle one, has it verified in its cache (medians of five); and what the active takes for a poll of 10 seconds while nothing happens. The active reads each standby's record once a minute, which is what grows; standbys of many read each other's seldomer. On two processors a hundred standbys that pull and rehearse at once wait for the processors, and for the store's.",
		[]string{"published-to-last", "published-to-middle", "active"}},
	{"GrowthOfDatabases", "A database", "A database of pgbench's. The processors' time of the agent's part for one megabyte, without that of PostgreSQL and its tools, and the peak of its memory: of a first dump, of one after 1,000 transactions, and of a stage.",
		[]string{"first", "1000-transactions-later", "stage"}},
}

// TestGrowthPage writes docs/growth.md of what the benchmarks have printed (make growth),
// or looks whether it shows each of them.
func TestGrowthPage(t *testing.T) {
	if *growthOut == "" {
		page, err := os.ReadFile("../docs/growth.md")
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range curves {
			_, section, found := strings.Cut(string(page), "\n## "+c.title+"\n")
			section, _, _ = strings.Cut(section, "\n## ")
			for _, step := range c.steps {
				if !strings.Contains(section, "\n| "+spaced(step)+" | ") {
					t.Errorf("%s (%v) lacks %s", c.title, found, step)
				}
			}
		}
		return
	}
	out, err := os.ReadFile(*growthIn)
	if err != nil {
		t.Fatal(err)
	}
	runs := readRuns(string(out))
	page := "# Growth\n\n`make growth` wrote this page, by `go test -p 1 -run '^$' -bench 'Growth|IdleAgent' -benchtime 1x -timeout 0 ./backup/source/directory ./backup/source/postgres ./ha/control ./e2e`.\n\n" +
		"What a backup, a standby or a look takes is to stay the same however much there is: of a file, of a request. Processors' time and counts of requests say more than how long it took.\n\n" +
		strings.TrimSpace("Measured on "+machine()+". "+*growthNote) + "\n"
	for _, c := range curves {
		page += "\n## " + c.title + "\n\n" + c.about + "\n\n" + c.table(t, runs)
	}
	if err := os.WriteFile(*growthOut, []byte(page), 0o644); err != nil {
		t.Fatal(err)
	}
}

// benchmarkRun is one benchmark's result: what it reports, by the unit's name.
type benchmarkRun struct {
	name, size string
	reported   []measure
}

type measure struct {
	name  string
	value float64
}

// readRuns reads what go test -bench prints. Of a benchmark that ran twice the last
// counts.
func readRuns(out string) (runs []benchmarkRun) {
	for lines := bufio.NewScanner(strings.NewReader(out)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		name := strings.TrimPrefix(fields[0], "Benchmark")
		if at := strings.LastIndex(name, "-"); at > 0 {
			name = name[:at] // the number of processors
		}
		run := benchmarkRun{}
		run.name, run.size, _ = strings.Cut(name, "/")
		for i := 2; i+1 < len(fields); i += 2 {
			if value, err := strconv.ParseFloat(fields[i], 64); err == nil {
				run.reported = append(run.reported, measure{fields[i+1], value})
			}
		}
		runs = append(runs, run)
	}
	return runs
}

// table has a row for each step and a column for each size.
func (c curve) table(t *testing.T, all []benchmarkRun) string {
	t.Helper()
	var sizes []string
	runs := make(map[string]benchmarkRun)
	for _, run := range all {
		if run.name != c.benchmark {
			continue
		}
		if _, again := runs[run.size]; !again {
			sizes = append(sizes, run.size)
		}
		runs[run.size] = run
	}
	if len(sizes) == 0 {
		t.Fatalf("%s is not in %s", c.benchmark, *growthIn)
	}
	table := "| |"
	for _, size := range sizes {
		table += " " + cmp.Or(size, "measured") + " |"
	}
	table += "\n| --- |" + strings.Repeat(" --- |", len(sizes)) + "\n"
	for _, step := range c.steps {
		table += "| " + spaced(step) + " |"
		for _, size := range sizes {
			table += " " + runs[size].cell(step) + " |"
		}
		table += "\n"
	}
	return table
}

// cell is what a run reports of a step.
func (r benchmarkRun) cell(step string) string {
	var cells []string
	for _, m := range r.reported {
		if unit, ok := strings.CutPrefix(m.name, step+"-"); ok {
			cells = append(cells, threeDigits(m.value)+" "+spaced(unit))
		}
	}
	return strings.Join(cells, ", ")
}

// spaced is a name without its hyphens.
func spaced(name string) string { return strings.ReplaceAll(name, "-", " ") }

// threeDigits has three digits that count.
func threeDigits(v float64) string {
	if v >= 100 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

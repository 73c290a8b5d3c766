package e2e

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/understudy-ha/understudy/backup/source/sourcetest"
	"github.com/understudy-ha/understudy/e2e/server"
)

var (
	besideFiles = flag.Int("beside.files", 300, "how many files the tree has of which backups are compared")
	besideSize  = flag.String("beside.size", "64MiB", "how large that tree is")
	besideTries = flag.Int("beside.tries", 1, "how often each thing is measured; the median counts")
	besideDir   = flag.String("beside.dir", "", "where restores go; in memory, what counts is not the file system's")
	besideOnly  = flag.String("beside.only", "", "which rivals are measured, with commas; all of them otherwise")
	besideOut   = flag.String("beside.out", "", "file to write what was measured to")
)

// TestBesideOthers measures backups and restores of a tree beside `tar | zstd`,
// restic, and, where the variable KOPIA names its program, kopia, on one MinIO
// server. In the tests it looks at a small tree alone, and that each restores what it
// was given; `make bench` has it measure a large one.
func TestBesideOthers(t *testing.T) {
	size, err := humanize.ParseBytes(*besideSize)
	if err != nil {
		t.Fatal(err)
	}
	c := &comparison{t: t, m: server.MinIO(t), rivals: []string{ours, tarred, restic}, values: make(map[string]map[string][]float64)}
	if os.Getenv("KOPIA") != "" {
		c.rivals = append(c.rivals, kopia)
	}
	if *besideOnly != "" {
		c.rivals = strings.Split(*besideOnly, ",")
	}
	for try := range *besideTries {
		c.measure(try, sourcetest.TreeSize{Files: *besideFiles, Bytes: int64(size), Large: 4})
	}
	t.Log("\n" + c.table() + "\n" + c.ratios())
	if *besideOut != "" {
		if err := os.WriteFile(*besideOut, []byte(c.page(size)), 0o644); err != nil {
			t.Error(err)
		}
	}
	us, _ := c.middle(uploaded, ours)
	if most := float64(size) / 20; us > most {
		t.Errorf("%.0f bytes were uploaded of 1%% that had changed, want %.0f at most", us, most)
	}
}

// Names of the rivals, and of what is measured.
const (
	ours, tarred, restic, kopia = "understudy", "tar \\| zstd -1 -T2 \\| upload", "restic", "kopia"

	firstBackup  = "first backup"
	firstEffort  = "first backup: processor time"
	unchanged    = "nothing changed"
	changed      = "1% changed"
	uploaded     = "1% changed: uploaded"
	fromBucket   = "restore from the bucket"
	bucketEffort = "restore from the bucket: processor time"
	fromCache    = "restore from a standby's cache"
	peakMemory   = "peak memory of backups"
)

var measured = []string{firstBackup, firstEffort, unchanged, changed, uploaded, fromBucket, bucketEffort, fromCache, peakMemory}

// comparison is what was measured: seconds or bytes, by what and whose.
type comparison struct {
	t      *testing.T
	m      *server.MinIOServer
	rivals []string
	values map[string]map[string][]float64
}

func (c *comparison) note(what, whose string, value float64) {
	if c.values[what] == nil {
		c.values[what] = make(map[string][]float64)
	}
	c.values[what][whose] = append(c.values[what][whose], value)
}

// took measures how long something takes.
func took(do func()) float64 {
	began := time.Now()
	do()
	return time.Since(began).Seconds()
}

// spent measures how long processors work for something: those of the rival, of this
// process, which uploads for tar, and of the server.
func (c *comparison) spent(r rival, do func()) float64 {
	c.t.Helper()
	before := processorTime(c.t, append(r.processes(), c.m.PID()))
	do()
	return (processorTime(c.t, append(r.processes(), c.m.PID())) - before).Seconds()
}

// rivalsOf starts a bucket for each rival.
func (c *comparison) rivalsOf(dir string) map[string]rival {
	all := make(map[string]rival)
	for _, name := range c.rivals {
		switch name {
		case ours:
			all[name] = newUnderstudyRival(c.t, c.m, dir)
		case tarred:
			all[name] = &tarball{m: c.m, bucket: bucketName(c.t, c.m.NewBucket(c.t)), dir: dir}
		case restic:
			all[name] = newResticRepository(c.t, c.m, dir)
		case kopia:
			all[name] = newKopiaRepository(c.t, c.m, os.Getenv("KOPIA"), dir)
		default:
			c.t.Fatalf("there is no rival %q", name)
		}
	}
	return all
}

// measure makes a tree, and has each rival back it up, three times, and restore
// it. Another one begins with each try, so that none always comes after the same.
func (c *comparison) measure(try int, size sourcetest.TreeSize) {
	t := c.t
	dir := filepath.Join(t.TempDir(), "tree")
	files := sourcetest.WriteTree(t, dir, uint64(try+1), size)
	all := c.rivalsOf(dir)
	order := slices.Concat(c.rivals[try%len(c.rivals):], c.rivals[:try%len(c.rivals)])
	each := func(do func(name string, r rival)) {
		for _, name := range order {
			do(name, all[name])
		}
	}
	each(func(name string, r rival) {
		c.note(firstEffort, name, c.spent(r, func() { c.note(firstBackup, name, took(func() { r.first(t) })) }))
		r.idle(t)
	})
	each(func(name string, r rival) { c.note(unchanged, name, took(func() { r.backup(t) })) })
	change(t, dir, files, size.Bytes/100)
	each(func(name string, r rival) {
		before := r.stored(t)
		c.note(changed, name, took(func() { r.backup(t) }))
		if name != tarred {
			c.note(uploaded, name, float64(r.stored(t)-before))
		}
		c.note(peakMemory, name, float64(r.peak(t)))
	})
	each(func(name string, r rival) {
		to := filepath.Join(restoreDir(t), "restored")
		c.note(bucketEffort, name, c.spent(r, func() { c.note(fromBucket, name, took(func() { to = r.restore(t, to) })) }))
		sourcetest.CompareTrees(t, dir, to, isRoot)
		_ = os.RemoveAll(to)
	})
	if us, ok := all[ours].(*understudyRival); ok {
		to := filepath.Join(restoreDir(t), "restored")
		us.standby(t)
		c.note(fromCache, ours, took(func() { to = us.restoreOn(t, us.b, to) }))
		sourcetest.CompareTrees(t, dir, to, isRoot)
		us.a.stopAgent()
	}
}

// middle is the median; false when nothing was measured.
func (c *comparison) middle(what, whose string) (float64, bool) {
	all := slices.Sorted(slices.Values(c.values[what][whose]))
	if len(all) == 0 {
		return 0, false
	}
	return all[len(all)/2], true
}

// table has a line for each thing, and a column for each rival.
func (c *comparison) table() string {
	version, _ := exec.Command("restic", "version").Output()
	name, _, _ := strings.Cut(string(version), " compiled")
	var b strings.Builder
	b.WriteString("| |")
	for _, whose := range c.rivals {
		if whose == restic {
			whose = cmp.Or(name, restic)
		}
		b.WriteString(" " + whose + " |")
	}
	b.WriteString("\n|" + strings.Repeat(" --- |", len(c.rivals)+1) + "\n")
	for _, what := range measured {
		b.WriteString("| " + what + " |")
		for _, whose := range c.rivals {
			value, known := c.middle(what, whose)
			switch {
			case !known:
				b.WriteString(" – |")
			case what == uploaded || what == peakMemory:
				fmt.Fprintf(&b, " %s |", humanize.IBytes(uint64(max(0, value))))
			default:
				fmt.Fprintf(&b, " %.2f s |", value)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// ratio is the median, over the tries, of this program's value and another's in one
// try: what else the machine does then weighs on both.
func (c *comparison) ratio(what, whose string) (float64, bool) {
	us, them := c.values[what][ours], c.values[what][whose]
	if len(us) == 0 || len(us) != len(them) {
		return 0, false
	}
	ratios := make([]float64, len(us))
	for i := range us {
		ratios[i] = us[i] / them[i]
	}
	slices.Sort(ratios)
	return ratios[len(ratios)/2], true
}

// ratios says how this program's times compare with the others'.
func (c *comparison) ratios() string {
	var b strings.Builder
	for _, what := range []string{firstBackup, firstEffort, unchanged, changed, fromBucket, bucketEffort} {
		var parts []string
		for _, whose := range c.rivals {
			if ratio, known := c.ratio(what, whose); known && whose != ours {
				parts = append(parts, fmt.Sprintf("%.2f of %s", ratio, strings.Split(whose, " ")[0]))
			}
		}
		fmt.Fprintf(&b, "- %s: %s.\n", what, strings.Join(parts, ", "))
	}
	return b.String()
}

func (c *comparison) page(size uint64) string {
	return fmt.Sprintf("# Beside others\n\n`make bench` wrote this file. A tree of %s in %d files, of which about half cannot be compressed, is backed up to a MinIO server on the same machine, again as it is, and again after 1%% of the bytes have become others, none of which can be compressed, in four large files, and a hundred small files have grown by 200; then it is restored, to memory. "+
		"The median of %d runs, in which each begins in turn; tar uploads with minio-go, 16 MiB at a time, four at once. All but tar deduplicate and encrypt; understudy signs, too, and its standbys are told.\n\n"+
		"A first backup includes the start of understudy's agent; everything else is a whole command. Processor time is that of all processes, the server's too. Ratios are the median of those of each run. [Speed](speed.md) says what binds. Memory is the peak of the resident set: of the agent since it began, of the others' commands, of tar and zstd together.\n\nMeasured on %s.\n\n%s\n%s",
		humanize.IBytes(size), *besideFiles, *besideTries, machine(), c.table(), c.ratios())
}

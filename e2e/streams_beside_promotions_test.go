package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/e2e/server"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/report"
)

// serverPromotions are those of servers whose replica follows, by size.
type serverPromotions struct{ sizes []promotedSize }

// promotedSize is what was measured of one size.
type promotedSize struct {
	size     uint64
	turns    []promotedServer // switchovers
	failover promotedServer
}

// promotedServer is one promotion.
type promotedServer struct {
	stopped time.Duration // the application was
	steps   []ha.Step
	lost    time.Duration // how old what the new active has was
}

// promotions measures those of each size.
func (c *shippings) promotions(t *testing.T) {
	for text := range strings.SplitSeq(*streamsSizes, ",") {
		if text == "" {
			continue
		}
		size, err := humanize.ParseBytes(text)
		if err != nil {
			t.Fatal(err)
		}
		t.Run("promotions of "+text, func(t *testing.T) {
			c.promoted.sizes = append(c.promoted.sizes, promotedSize{size: size})
			measureServers(t, c.m, &c.promoted.sizes[len(c.promoted.sizes)-1])
			c.write()
		})
	}
}

// measureServers promotes two servers in turn, while rows are written, and then the standby
// in place of an active that is gone.
func measureServers(t *testing.T, m *server.MinIOServer, into *promotedSize) {
	p := newServers(t, serverSetup{
		cluster: newCluster(t, m.NewBucket(t), m.Env()), timed: true,
		fill: func(first *server.PostgresFolder) { fillServer(t, first.DSN("postgres"), into.size) },
	}, "host-a", "host-b")
	var d diary
	active, standby := p.a, p.b
	for turn := range *streamsTurns {
		end := d.write(t, p.on[active].DSN("postgres"))
		active.long("it has a backup of its epoch, and makes none", func(s report.Status) bool {
			return s.Work == "" && s.Head != nil && s.Head.Newest.Epoch == s.Head.Epoch
		})
		p.follows(standby)
		promoted := standby.promotes()
		end()
		if lost, _ := d.goesOn(t, p.on[standby].DSN("postgres"), time.Now()); lost > 0 {
			t.Fatalf("promotion %d has lost %d rows", turn, lost)
		}
		one := promotedServer{stopped: time.Duration(promoted.Downtime * float64(time.Second)), steps: promoted.Steps}
		t.Logf("switchover: stopped for %v: %s", one.stopped, showSteps(one.steps))
		into.turns = append(into.turns, one)
		active, standby = standby, active
	}
	end := d.write(t, p.on[active].DSN("postgres"))
	p.follows(standby)
	at := p.crashes(active)
	end()
	if err := os.RemoveAll(p.on[active].Data()); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	promoted := standby.promotes("--failover", "--host-is-off")
	took := time.Since(began)
	_, age := d.goesOn(t, p.on[standby].DSN("postgres"), at)
	into.failover = promotedServer{stopped: took, steps: promoted.Steps, lost: age}
	t.Logf("failover: took %v, lost %v: %s", into.failover.stopped, into.failover.lost, showSteps(into.failover.steps))
}

// follows waits until a standby has staged the newest backup, and its replica is as far as
// the writer was a moment ago.
func (p *serverPair) follows(standby *host) {
	from := time.Now()
	standby.long("its replica follows", func(s report.Status) bool {
		return s.State == report.StateInSync && s.Work == "" && slices.ContainsFunc(s.Streams, func(one report.StreamStatus) bool {
			return one.Runs && one.Part > 0 && one.UpTo.After(from)
		})
	})
	unix.Sync() // else the disk is busy with what filled the servers
}

// fillServer gives a server so many bytes, which hardly compress.
func fillServer(t *testing.T, dsn string, size uint64) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), "CREATE TABLE state (id bigint PRIMARY KEY, text text)"); err != nil {
		t.Fatal(err)
	}
	rows := &rowSource{n: int64(size) >> 10, random: rand.NewChaCha8([32]byte{1})}
	if _, err := conn.CopyFrom(t.Context(), pgx.Identifier{"state"}, []string{"id", "text"}, rows); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "CHECKPOINT"); err != nil {
		t.Fatal(err)
	}
}

func (s *serverPromotions) any() bool { return len(s.sizes) > 0 && len(s.sizes[0].turns) > 0 }

// middle is the switchover that took the median.
func (s *promotedSize) middle() (promotedServer, error) {
	if len(s.turns) == 0 {
		return promotedServer{}, errors.New("none was measured")
	}
	sorted := slices.SortedFunc(slices.Values(s.turns), func(a, b promotedServer) int { return int(a.stopped - b.stopped) })
	return sorted[len(sorted)/2], nil
}

// target is one value that is held to a limit.
type target struct {
	what        string
	value, most float64
	unit        string
}

// targets are those of switchovers.
func (s *serverPromotions) targets() (all []target) {
	var first float64 // of the smallest
	for i, one := range s.sizes {
		m, err := one.middle()
		if err != nil {
			continue
		}
		what, took := "switchover of "+humanize.IBytes(one.size), m.stopped.Seconds()
		all = append(all, target{what, took, mostStopped.Seconds(), "s"})
		if i == 0 {
			first = took
		} else if first > 0 {
			all = append(all, target{what + ", beside that of " + humanize.IBytes(s.sizes[0].size), took / first, mostStoppedMore, "times"})
		}
	}
	return all
}

func (s *serverPromotions) text() string {
	return fmt.Sprintf("A standby on the same machine, with its replica following and no backup under way, takes over from an active whose server is written to 200 times a second; servers wait for their disk, hooks do nothing, rows of 1 KiB hardly compress. "+
		"*Stopped* is for how long a switchover kept the application stopped, of %d the one that took the median; of a failover, in which the active's agent, server and data are gone (`--host-is-off`), how long the whole command took, and how old what the new active had was. "+
		"Both hosts share the processors, the memory and the disk of this machine. 20 GiB were not measured: the disk does not hold such a server, its replica and its backups.\n\n", *streamsTurns)
}

func (s *serverPromotions) table() string {
	var b strings.Builder
	b.WriteString("| size | | stopped | lost | steps |\n| --- | --- | --- | --- | --- |\n")
	line := func(size uint64, what string, p promotedServer, lost string) {
		fmt.Fprintf(&b, "| %s | %s | **%s** | %s | %s |\n", humanize.IBytes(size), what, brief(p.stopped), lost, showSteps(p.steps))
	}
	for _, one := range s.sizes {
		if m, err := one.middle(); err == nil {
			line(one.size, "switchover", m, "nothing")
		}
		if len(one.failover.steps) > 0 {
			line(one.size, "failover", one.failover, brief(one.failover.lost))
		}
	}
	return b.String()
}

// showSteps are the steps that took at least a millisecond.
func showSteps(steps []ha.Step) string {
	var all []string
	for _, s := range steps {
		if took := time.Duration(s.Took); took >= time.Millisecond {
			all = append(all, s.Name+" "+brief(took))
		}
	}
	return strings.Join(all, ", ")
}

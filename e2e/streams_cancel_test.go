package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
)

// applier is the process of a host's replica that applies its log.
func (p *serverPair) applier(h *host) *os.Process {
	p.t.Helper()
	live := p.on[h].Data()
	pid, err := os.ReadFile(filepath.Join(filepath.Dir(live), "."+filepath.Base(live)+".understudy-staged", "postmaster.pid"))
	if err != nil {
		p.t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(pid), "\n")
	children, err := os.ReadFile(fmt.Sprintf("/proc/%[1]s/task/%[1]s/children", first))
	if err != nil {
		p.t.Fatal(err)
	}
	for child := range strings.FieldsSeq(string(children)) {
		line, err := os.ReadFile("/proc/" + child + "/cmdline")
		if err != nil || !bytes.HasPrefix(line, []byte("postgres: startup ")) {
			continue
		}
		id, err := strconv.Atoi(child)
		if err != nil {
			p.t.Fatal(err)
		}
		return &os.Process{Pid: id}
	}
	p.t.Fatalf("%s: nothing applies log", h.name)
	return nil
}

// holdsUp has a host's replica apply nothing until it is released: a promotion waits for it.
func (p *serverPair) holdsUp(h *host) (release func()) {
	p.t.Helper()
	pid := p.applier(h).Pid
	release = func() { _ = syscall.Kill(pid, syscall.SIGCONT) } // it may have ended
	p.t.Cleanup(release)                                        // or it could not be ended
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		p.t.Fatal(err)
	}
	return release
}

// isCancelled has b begin a promotion, which waits for its replica, and cancels it.
func (p *serverPair) isCancelled(meanwhile func(), how ...string) {
	p.t.Helper()
	promotion := p.b.background(append([]string{"promote", "--yes"}, how...)...)
	p.b.eventually("applies the log", func() error {
		if s := p.b.status(); s.Promotion == nil || s.Promotion.Phase != ha.PhaseRestore {
			return fmt.Errorf("promotion %+v; problems %q", s.Promotion, s.Problems)
		}
		return nil
	})
	meanwhile()
	if c := query[promotions.PromotionStatus](p.b, "promote", "--cancel"); c.State != promotions.PromotionRolledBack {
		p.t.Errorf("it was cancelled, and is %+v", c)
	}
	if r := received(p.t, "the promotion ends", promotion); r.code != 1 || !strings.Contains(r.errout, "cancelled by socket") {
		p.t.Errorf("it was cancelled: %+v", r)
	}
}

// TestAPromotionOfAServerCanBeCancelled: its stream was ended by then, by the promoter in a
// failover and by the active in a switchover. The active goes on in the next one, which needs
// no new base, and the next promotion has every row that was acknowledged.
func TestAPromotionOfAServerCanBeCancelled(t *testing.T) {
	t.Parallel()
	p := newServers(t, serverSetup{}, "host-a", "host-b")
	dsn := p.on[p.a].DSN("postgres")
	var d diary
	end := d.write(t, dsn)
	for n, how := range [][]string{{"--failover"}, nil} {
		d.grows(t, 50)
		p.b.follows()
		p.b.settles()
		if is, want := p.a.ships().Stream, fmt.Sprintf("1-%d", n+1); is != want {
			t.Fatalf("it ships in stream %s, want %s", is, want)
		}
		release := p.holdsUp(p.b)
		d.grows(t, 20) // which the replica lacks
		p.isCancelled(func() {
			if how == nil {
				return // its server is stopped
			}
			p.a.said("was ended by promotion")
			d.grows(t, 50) // of which nothing can be shipped
		}, how...)
		cancelled := time.Now()
		release()
		p.a.eventually("serves", func() error {
			if s := p.a.status(); s.State != report.StateActive || s.App != "running" || s.Handover != nil || !p.on[p.a].Runs() {
				return fmt.Errorf("%s, application %s, handover %v", s.State, s.App, s.Handover)
			}
			return nil
		})
		end()
		if lost, _ := d.goesOn(t, dsn, time.Now()); lost > 0 {
			t.Fatalf("%q: the server has lost %d rows", how, lost)
		}
		end = d.write(t, dsn)
		p.a.eventually("ships in the next stream", func() error {
			if s := p.a.stream(); s.Stream != fmt.Sprintf("1-%d", n+2) || !s.Based {
				return errors.New(s.Stream)
			}
			return nil
		})
		t.Logf("%q: shipped again %v after it was cancelled", how, time.Since(cancelled).Round(time.Millisecond))
		p.a.ships()
	}
	for _, words := range []string{"has a gap", "a new base was made"} {
		if p.a.told(words) {
			t.Errorf("it told %q", words)
		}
	}
	d.grows(t, 50)
	p.takesOver(&d, end)
}

package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/report"
)

// scenario brings a process to a point where it dies, and starts it again. How
// the cluster recovers is its own business; the caller waits for that.
type scenario struct {
	name  string
	steps []string
	run   func(tr *trial, point string)
	// epochs is by how many the epoch may have grown when a promotion was asked
	// for: not at all, or by so many.
	epochs uint64
}

// scenarios is every durable step of an agent, each in what it is a part of.
var scenarios = []scenario{
	{"a start of the active", []string{
		"journal.start", "put.record", "head.claim", "journal.head", "journal.settled",
	}, (*trial).startActive, 0},
	{"a heartbeat", []string{"head.renew"}, func(tr *trial, point string) { tr.waitFor(tr.active, point) }, 0},
	{"a heartbeat on a standby", []string{"journal.seen"}, func(tr *trial, point string) { tr.waitFor(tr.other, point) }, 0},
	{"a backup", []string{
		"backup", "put.pack", "put.manifest", "head.publish",
	}, (*trial).makeBackup, 0},
	{"a pull", []string{
		"pull", "cache.pack", "cache.sync", "cache.record", "cache.place", "cache.sweep", "cache.drop",
	}, (*trial).pull, 0},
	{"a rehearsal", []string{"rehearse", "attest"}, (*trial).pull, 0},
	{"the end of rehearsals", []string{"unstage"}, (*trial).unstage, 0},
	{"pausing the schedule", []string{"journal.paused"}, (*trial).pause, 0},
	{"a change of the configuration", []string{"put.config", "head.config"}, (*trial).setConfig, 0},
	{"a switchover, on the candidate", []string{
		"journal.promotion.lease", "lease.take", "journal.promotion.pin", "journal.promotion.handover",
		"journal.promotion.restore", "stage", "swapper.staging", "source.stage", "swapper.staged",
		"journal.promotion.swap", "swap", "swapper.swapping", "source.swap", "swapper.swapped",
		"journal.promotion.commit", "journal.commit", "head.commit", "journal.promotion.finish",
		"marker", "journal.marked", "swapper.finishing", "source.discard", "swapper.idle",
		"application.start", "journal.promotion.started", "lease.release",
		"journal.promotion.ended", "journal.first",
	}, (*trial).switchoverCandidate, 1},
	{"a switchover, on the old active", []string{
		"journal.handover.stopping", "application.stop", "head.preparing", "journal.handover.final",
		"journal.handover.sent", "head.handed", "journal.demotion.begun", "ack",
	}, (*trial).switchoverOld, 1},
	{"a restore that takes long", []string{"lease.renew"}, (*trial).restoreLong, 1},
	{"a handover that is declined", []string{"journal.handover.declined", "head.declined"}, (*trial).decline, 1},
	{"taking back", []string{
		"journal.handover.returning", "head.returned", "journal.handover.ended",
	}, (*trial).takeBack, 1},
	{"a rollback", []string{
		"journal.promotion.rollback", "rollback", "swapper.restoring", "source.swap-back", "journal.promotion.undone",
	}, (*trial).rollBack, 1},
	{"a failover, on the candidate", []string{"journal.promotion.acked"}, (*trial).failoverCandidate, 1},
	{"a failover, on the old active", []string{
		"journal.demotion.acked", "salvage", "put.salvage", "journal.demotion.made", "salvage.record", "journal.demotion.ended", "rejoin",
	}, (*trial).failoverOld, 1},
	{"stepping down two epochs late", []string{"journal.demotion.known"}, (*trial).stepDownLate, 2},
	{"being superseded in mid-promotion", []string{"discard"}, (*trial).supersededEarly, 2},
}

// again brings a host's agent back once it has died.
func (tr *trial) again(h *host) {
	tr.t.Helper()
	tr.died(h)
	tr.launch(h)
}

func (tr *trial) startActive(point string) {
	tr.active.stopAgent()
	tr.arm(tr.active, point)
	tr.launch(tr.active)
	tr.again(tr.active)
}

// waitFor is for what happens by itself.
func (tr *trial) waitFor(h *host, point string) {
	tr.arm(h, point)
	tr.again(h)
}

func (tr *trial) makeBackup(point string) {
	tr.arm(tr.active, point)
	wait := tr.background(tr.active, "backup")
	tr.again(tr.active)
	wait()
}

// pull makes backups until the standby dies in pulling or rehearsing one: what
// is dropped from a cache is only what is too many.
func (tr *trial) pull(point string) {
	tr.arm(tr.other, point)
	for begun := time.Now(); time.Since(begun) < patience; {
		wait := tr.background(tr.active, "backup")
		if r := wait(); r.code != 0 {
			tr.t.Fatalf("backup: %+v", r)
		}
		eventually(tr.t, "the standby pulls or dies", func() error {
			select {
			case <-tr.other.exited:
				return nil
			default:
			}
			s, err := tr.look(tr.other)
			if err == nil && s.State != report.StateInSync {
				err = errors.New(s.State)
			}
			return err
		})
		select {
		case <-tr.other.exited:
			tr.again(tr.other)
			return
		default:
		}
	}
	tr.t.Fatalf("%s: no pull reaches %s within %v", tr.other.name, point, patience)
}

// unstage has the standby die in dropping its stage, because it is not to
// rehearse any more. Then it is to do so again.
func (tr *trial) unstage(point string) {
	h := tr.other
	configure := func(rehearsal string) {
		if err := os.WriteFile(h.path("understudy.yaml"), []byte(h.app.config()+rehearsal), 0o600); err != nil {
			tr.t.Fatal(err)
		}
	}
	h.stopAgent()
	configure("rehearsal: off\n")
	tr.arm(h, point)
	tr.launch(h)
	tr.died(h)
	configure("")
	tr.launch(h)
}

func (tr *trial) pause(point string) {
	tr.arm(tr.active, point)
	wait := tr.background(tr.active, "pause")
	tr.again(tr.active)
	wait()
	tr.settle()
	tr.active.run("resume")
}

func (tr *trial) setConfig(point string) {
	tr.tries++
	frequency := fmt.Sprintf("%dm", 5+tr.tries)
	tr.arm(tr.active, point)
	wait := tr.background(tr.active, "config", "set", "frequency", frequency)
	tr.again(tr.active)
	wait()
	tr.settle()
	tr.active.run("config", "set", "frequency", frequency)
}

func (tr *trial) switchoverCandidate(point string) {
	tr.arm(tr.other, point)
	wait := tr.background(tr.other, "promote", "--yes")
	tr.again(tr.other)
	wait()
}

func (tr *trial) switchoverOld(point string) {
	tr.arm(tr.active, point)
	wait := tr.background(tr.other, "promote", "--yes")
	tr.again(tr.active)
	wait()
}

func (tr *trial) restoreLong(point string) {
	release := tr.hold(tr.other)
	tr.arm(tr.other, point)
	wait := tr.background(tr.other, "promote", "--yes")
	tr.died(tr.other)
	release()
	tr.launch(tr.other)
	wait()
}

// freeze stops an agent's process until thaw is called.
func (tr *trial) freeze(h *host) (thaw func()) {
	tr.t.Helper()
	process := h.agent.Process
	tr.t.Cleanup(func() { _ = process.Signal(syscall.SIGCONT) }) // or it could not be ended
	tr.c.suspend(process)
	return func() {
		if err := process.Signal(syscall.SIGCONT); err != nil {
			tr.t.Error(err)
		}
	}
}

// decline has the final backup fail.
func (tr *trial) decline(point string) {
	static := filepath.Join(tr.active.app.(held).dir, "static")
	if err := os.Rename(static, static+"-away"); err != nil {
		tr.t.Fatal(err)
	}
	tr.arm(tr.active, point)
	wait := tr.background(tr.other, "promote", "--yes")
	tr.died(tr.active)
	if err := os.Rename(static+"-away", static); err != nil {
		tr.t.Fatal(err)
	}
	tr.launch(tr.active)
	wait()
}

// takeBack has the candidate give up because it died after the handover, and
// the old active die over that.
func (tr *trial) takeBack(point string) {
	tr.arm(tr.other, "stage.before")
	wait := tr.background(tr.other, "promote", "--yes")
	tr.died(tr.other)
	tr.arm(tr.active, point)
	tr.launch(tr.other)
	tr.again(tr.active)
	wait()
}

// rollBack dies twice: after the swap, and in putting it back.
func (tr *trial) rollBack(point string) {
	tr.arm(tr.other, "swap.after")
	wait := tr.background(tr.other, "promote", "--yes")
	tr.died(tr.other)
	tr.arm(tr.other, point)
	tr.launch(tr.other)
	tr.again(tr.other)
	wait()
}

// failover makes a host the active, as soon as a dead candidate's lease is stale
// and no newer backup comes between.
func (tr *trial) failover(h *host) {
	tr.t.Helper()
	h.eventually("is promoted", func() error {
		if r := h.try("promote", "--failover", "--yes"); r.code != 0 {
			return errors.New(r.errout)
		}
		return nil
	})
}

// rest waits until no backup is due for a while: one that comes between makes
// the operator of a failover look again.
func (tr *trial) rest() {
	tr.t.Helper()
	tr.active.run("backup")
	tr.settle()
}

func (tr *trial) failoverCandidate(point string) {
	tr.rest()
	tr.arm(tr.other, point)
	wait := tr.background(tr.other, "promote", "--failover", "--yes")
	tr.again(tr.other)
	wait()
}

func (tr *trial) failoverOld(point string) {
	tr.rest()
	tr.arm(tr.active, point)
	wait := tr.background(tr.other, "promote", "--failover", "--yes")
	tr.again(tr.active)
	if r := wait(); r.code != 0 {
		tr.t.Fatalf("promote: %+v", r)
	}
}

// stepDownLate has the old active come back when its successor has one too.
func (tr *trial) stepDownLate(point string) {
	third := tr.host()
	tr.join(third)
	tr.settle()
	old, second := tr.active, tr.hosts[1]
	if old == second {
		second = tr.hosts[0]
	}
	old.killAgent()
	for _, h := range []*host{second, third} {
		tr.failover(h)
	}
	tr.arm(old, point)
	tr.launch(old)
	tr.again(old)
}

// supersededEarly has the candidate die once it has committed, and the old
// active promoted again meanwhile.
func (tr *trial) supersededEarly(point string) {
	tr.arm(tr.other, "journal.promotion.finish.after")
	wait := tr.background(tr.other, "promote", "--yes")
	tr.died(tr.other)
	wait()
	tr.until(tr.active, "has stepped down", func(s report.Status) bool { return s.Role == ha.RoleStandby && s.Demotion == nil })
	tr.failover(tr.active)
	tr.arm(tr.other, point)
	tr.launch(tr.other)
	tr.again(tr.other)
}

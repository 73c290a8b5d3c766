package agent

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/clock"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/peers"
	"github.com/understudy-ha/understudy/ha/report"
	"github.com/understudy-ha/understudy/ha/runner"
	"github.com/understudy-ha/understudy/ha/shared"
)

const (
	tableEvery = time.Minute // how often the table is read while nobody looks
	tablePause = time.Second // between two readings
	// manyInstances are so many that standbys read the table seldomer.
	manyInstances = 10
)

// standbyReads is how often a standby reads the table of so many instances while nobody
// looks. Each reads the records of all: what they ask of the bucket together grows with
// their number, and not with its square.
func standbyReads(instances int) time.Duration {
	return tableEvery * time.Duration(max(instances, manyInstances)) / manyInstances
}

// tableHost is the instance that has the table.
type tableHost struct {
	self      ha.Peer
	poll      time.Duration
	clock     clock.Clock
	state     *runner.State
	records   *shared.Records
	configs   *shared.Configs
	shared    *shared.Shared
	sightings *peers.Sightings
	tell      event.Reporter
	admitted  <-chan struct{}
	own       func() ha.Instance // what this instance says of itself
}

// Table is the table of instances: this one, and what the others last said of themselves.
// It is safe for concurrent use; keep is one goroutine's.
type Table struct {
	host tableHost
	lags lags
}

// keep keeps the table of instances current.
func (t *Table) keep(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.host.admitted:
	}
	var epoch uint64
	again := recordPause // until the next reading while what is read is not settled
	for failing := false; ; {
		epoch = t.host.state.View().Epoch
		err := t.host.records.Refresh(ctx)
		if err != nil && ctx.Err() == nil && !failing {
			t.host.tell.Note(ctx, event.Warn, "instances", "the other instances' records cannot be read: "+err.Error(), nil)
		}
		failing = err != nil
		if err == nil {
			t.host.sightings.NoteRecords()
			t.lags.sample(t.host.clock.Now(), t.all(t.host.state.View()))
			t.host.shared.Readmit(ctx)
			t.host.shared.ResignKeys(ctx)
		}
		every := t.every()
		next := every
		if every == tableEvery && !t.settled() {
			next = again
		}
		waited, err := t.untilDue(ctx, next, epoch)
		if err != nil {
			return err
		}
		if again = min(2*again, tableEvery); !waited || next == every {
			again = recordPause // something is new
		}
	}
}

// every is how often the table is read while nobody looks.
func (t *Table) every() time.Duration {
	if t.host.state.View().Leading {
		return tableEvery
	}
	return standbyReads(len(t.host.records.Reading().Rows))
}

// untilDue waits until it is time to read the table again, somebody
// looks, or another epoch has begun; for tablePause at least. It reports whether
// it was the time.
func (t *Table) untilDue(ctx context.Context, next time.Duration, epoch uint64) (waited bool, err error) {
	if err := wait(ctx, tablePause); err != nil {
		return false, err
	}
	timer := time.NewTimer(next)
	defer timer.Stop()
	for {
		changed := t.host.state.Changed()
		if t.host.state.View().Epoch != epoch {
			return false, nil
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-timer.C:
			return true, nil
		case <-t.host.records.Stirred():
			return false, nil
		case <-changed:
		}
	}
}

// settled reports whether the records say what the head says: soon after a
// promotion, or after a backup, they do not yet.
func (t *Table) settled() bool {
	core := t.host.state.View()
	h := core.Head
	if h == nil {
		return true
	}
	fresh := h.Newest != nil && t.host.clock.Now().Wall.Sub(h.Newest.Time).Seconds() < report.SyncGrace
	for _, i := range t.all(core) {
		if i.State == report.StateReplaced || i.State == report.StateDemoting || fresh && i.State == report.StateBehind {
			return false
		}
	}
	return true
}

// Instances gives the table of instances, read from the bucket now.
func (t *Table) Instances(ctx context.Context) ([]report.InstanceStatus, error) {
	if err := t.host.records.Refresh(ctx); err != nil {
		return nil, err
	}
	return t.all(t.host.state.View()), nil
}

// all makes the table of what is known, by name.
func (t *Table) all(core ha.Status) []report.InstanceStatus {
	_, config := t.host.configs.Current()
	read := t.host.records.Reading()
	var all []report.InstanceStatus
	urls := make(map[string]bool)
	for name, r := range read.Rows {
		if name == t.host.self.Name {
			continue
		}
		s := rowStatus(name, r, core.Head, read, t.host.poll)
		if r.Record != nil && config.Removed(name) {
			s.State = report.StateRemoved
		}
		urls[s.URL] = true
		all = append(all, s)
	}
	self := t.host.own()
	all = append(all, t.selfStatus(self, core))
	urls[self.URL] = true
	if config != nil {
		for _, m := range config.Instances {
			if m.Name == "" && !urls[m.URL] {
				all = append(all, report.InstanceStatus{URL: m.URL, State: report.StateRegistered, Lag: -1})
			}
		}
	}
	slices.SortFunc(all, func(x, y report.InstanceStatus) int { return strings.Compare(x.Name+x.URL, y.Name+y.URL) })
	return all
}

func (t *Table) selfStatus(rec ha.Instance, core ha.Status) report.InstanceStatus {
	s := recordStatus(&rec, core.Head)
	s.Self = true
	s.Name, s.URL, s.Incarnation = t.host.self.Name, t.host.self.URL, t.host.self.Incarnation
	return s
}

// rowStatus describes another instance, as of when its record was read.
func rowStatus(name string, r shared.Row, h *ha.Head, read shared.Reading, poll time.Duration) report.InstanceStatus {
	seen := r.Attrs.Time
	if r.Record == nil {
		return report.InstanceStatus{Name: name, State: "its record cannot be verified", LastSeen: &seen, LastError: r.Err.Error(), Lag: -1}
	}
	// How far a standby has come is judged by the head as of the same moment: it
	// may have followed since.
	s := recordStatus(r.Record, cmp.Or(read.Head, h))
	s.Name, s.LastSeen = name, &seen
	// The head says who is active, also before an instance's record does. A record
	// of a later epoch knows better.
	switch {
	case h == nil:
	case h.Active.Name == name && s.Role != ha.RoleActive && s.Epoch <= h.Epoch:
		s.Role, s.State, s.Lag = ha.RoleActive, report.StateActive, 0
	case h.Active.Name != name && s.Role == ha.RoleActive && s.Epoch < h.Epoch:
		s.Role, s.State, s.Lag = ha.RoleStandby, report.StateReplaced, -1
	}
	if silentRecord(seen, read.Began, poll) {
		s.State = report.StateUnreachable + " since " + seen.UTC().Format(time.RFC3339)
	}
	return s
}

// recordStatus describes what an instance says of itself, by a head.
func recordStatus(rec *ha.Instance, h *ha.Head) report.InstanceStatus {
	s := report.InstanceStatus{
		URL: rec.URL, Role: rec.Role, State: rec.State, Epoch: rec.Epoch, Version: rec.Version,
		Incarnation: rec.Incarnation, Keys: rec.Keys, Cached: rec.Cached, Rehearsals: rec.Rehearsals, LastError: rec.LastError, Troubles: rec.Troubles,
		Blockers: rec.Blockers, Ready: rec.Ready, Unstoppable: rec.Unstoppable, Shipped: rec.Shipped, Lag: -1,
	}
	if h == nil || h.Newest == nil {
		return s
	}
	inSync := hasNewest(rec, h)
	switch {
	case rec.Role == ha.RoleActive:
		s.Lag = 0
	case rec.State == report.StateInSync && !inSync:
		s.State = report.StateBehind
	case (rec.State == report.StateBehind || rec.State == report.StateWaiting) && inSync:
		s.State = report.StateInSync
	}
	if inSync {
		s.Lag = 0
	} else if len(rec.Cached) > 0 && s.Lag < 0 {
		if at, err := backupTime(rec.Cached[0]); err == nil {
			s.Lag = h.Newest.Time.Sub(at).Seconds()
		}
	}
	return s
}

// hasNewest reports whether an instance has the newest backup cached: the one
// that the head names, or one that it knows of and this instance does not yet.
func hasNewest(rec *ha.Instance, h *ha.Head) bool {
	if slices.Contains(rec.Cached, h.Newest.ID) {
		return true
	}
	later, err := backup.ParseID(rec.Newest)
	return err == nil && control.After(later, *h.Newest) && slices.Contains(rec.Cached, rec.Newest)
}

// backupTime reads the time in a backup's id.
func backupTime(id string) (time.Time, error) {
	text, _, _ := strings.Cut(id, "-")
	t, err := time.Parse("20060102T150405Z", text)
	if err != nil {
		return t, fmt.Errorf("read the time of backup %s: %w", id, err)
	}
	return t, nil
}

// rehearsedOn tells of each backup which instances have rehearsed it, as far as
// this one knows.
func (t *Table) rehearsedOn() map[string][]control.BackupRehearsal {
	all := make(map[string][]control.BackupRehearsal)
	for _, i := range t.all(t.host.state.View()) {
		control.AddRehearsals(all, i.Name, i.Rehearsals)
	}
	return all
}

// federated is the address of the active's Prometheus: "" on the active itself,
// and while it is not known, or nothing was heard of that instance for long.
func (t *Table) federated() string {
	h := t.host.state.View().Head
	if h == nil || h.Active.Name == t.host.self.Name {
		return ""
	}
	read := t.host.records.Reading()
	r, found := read.Rows[h.Active.Name]
	if !found || r.Record == nil {
		t.host.records.Look(max(t.host.poll, recordPause))
		return ""
	}
	if silentRecord(r.Attrs.Time, read.Began, t.host.poll) {
		return ""
	}
	return r.Record.Prometheus
}

// silentRecord reports whether an instance's record, last written at seen, was
// older when it was read than it gets while the instance is well: a write may
// fail or be slow, and is then tried again.
func silentRecord(seen, read time.Time, poll time.Duration) bool {
	return read.Sub(seen) > recordEvery+recordPause+max(3*poll, recordSlack)
}

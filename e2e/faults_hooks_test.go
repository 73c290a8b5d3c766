package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/ha/report"
)

// Scripts for hooks that misbehave.
const (
	hookFails = `echo "the moon is not mounted" >&2; exit 3`
	hookHangs = `echo "waiting for the moon"; sleep 1000`
	hookLoud  = `yes "a line of no interest" | head -c 40000000`
)

// TestNothingIsLostByHooksThatMisbehave has hooks fail, hang and print without
// end.
func TestNothingIsLostByHooksThatMisbehave(t *testing.T) {
	t.Parallel()
	o := newOrdeal(t, nil)
	o.setUp()
	o.backupHooks()
	o.probeHook()
	o.promoteHook()
	o.demoteHook()
}

// backupHooks: no backup without what quiesces the application, and any backup
// lets it go on.
func (o *ordeal) backupHooks() {
	app := o.apps[o.active]
	for _, test := range []struct{ script, words string }{
		{hookLoud + "; " + hookFails, "the moon is not mounted"},
		{hookHangs, fmt.Sprintf("it took longer than %v: waiting for the moon", hookTimeout)},
	} {
		o.begin("the pre_backup hook does: " + test.script)
		app.misbehave(o.t, "pre_backup", test.script)
		o.active.fails(1, test.words, "backup")
		o.says(o.active, "level=ERROR", "backup failed (tried again in", "run pre_backup hook", test.words)
		o.moreWrites(5) // it was told to go on
	}
	app.behave(o.t, "pre_backup")
	o.sound()
	o.begin("the backup hooks print megabytes, and the one after the backup fails")
	app.misbehave(o.t, "pre_backup", hookLoud)
	app.misbehave(o.t, "post_backup", hookLoud+`; "$@"; `+hookFails)
	o.sound()
	o.says(o.active, "level=WARN", "run post_backup hook", "the moon is not mounted")
	app.behave(o.t, "pre_backup")
	app.behave(o.t, "post_backup")
}

// probeHook keeps a backup that it does not like from being promoted.
func (o *ordeal) probeHook() {
	app := o.apps[o.standby]
	for _, test := range []struct{ script, words string }{
		{hookLoud + "; " + hookFails, "the moon is not mounted"},
		{hookHangs, fmt.Sprintf("it took longer than %v", hookTimeout)},
	} {
		o.begin("the probe hook does: " + test.script)
		app.misbehave(o.t, "probe", test.script)
		r := o.standby.try("promote", "--yes")
		if r.code == 0 || !strings.Contains(r.out+r.errout, test.words) {
			o.t.Errorf("promoted what the probe did not like: exit %d\n%s%s", r.code, r.out, r.errout)
		}
		o.says(o.standby, "level=WARN", "given up", "run probe hook", test.words)
		o.says(o.standby, "level=WARN", "rolled back, everything is as before")
	}
	app.behave(o.t, "probe")
	o.sound()
}

// promoteHook leaves the new active with its application down, which is said
// and tried again.
func (o *ordeal) promoteHook() {
	o.begin("the promote hook fails, and then hangs")
	app := o.apps[o.standby]
	app.misbehave(o.t, "promote", hookLoud+"; "+hookFails)
	o.standby.fails(1, "the moon is not mounted", "promote", "--yes")
	o.turned()
	o.active.is(report.StateActive)
	o.standby.is(report.StateInSync)
	o.unhealthy(o.active, "the moon is not mounted")
	app.misbehave(o.t, "promote", hookHangs)
	o.unhealthy(o.active, "it took longer than")
	o.says(o.active, "level=ERROR", "the application could not be brought to be running (tried again)", "run promote hook")
	if o.active.app.running(o.t) || o.standby.app.running(o.t) {
		o.t.Error("the application runs")
	}
	app.behave(o.t, "promote")
	o.sound()
}

// demoteHook holds a switchover up for as long as the application cannot be
// stopped: nobody else starts it.
func (o *ordeal) demoteHook() {
	o.begin("the demote hook hangs, and then fails")
	app := o.apps[o.active]
	app.misbehave(o.t, "demote", hookLoud+"; "+hookHangs)
	promoted := o.standby.background("promote", "--yes")
	o.unhealthy(o.active, fmt.Sprintf("it took longer than %v", ordealStop))
	app.misbehave(o.t, "demote", hookFails)
	o.unhealthy(o.active, "the moon is not mounted")
	o.says(o.active, "level=ERROR", "the application could not be brought to be stopped (tried again)", "run demote hook")
	if o.standby.app.running(o.t) {
		o.t.Error("the application runs on both")
	}
	app.behave(o.t, "demote")
	if r := o.await(promoted); r.code != 0 {
		o.t.Fatalf("promote: exit %d\n%s%s", r.code, r.out, r.errout)
	}
	o.turned()
	o.sound()
}

// unhealthy waits until a host says what is wrong with its application.
func (o *ordeal) unhealthy(h *host, words string) {
	o.t.Helper()
	h.eventually("has a problem: "+words, func() error {
		if s := h.status(); s.Healthy || !strings.Contains(s.AppError, words) {
			return errors.New(s.AppError)
		}
		return nil
	})
}

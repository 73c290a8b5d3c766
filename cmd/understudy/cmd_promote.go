package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/cmd/understudy/agentclient"
	"github.com/understudy-ha/understudy/cmd/understudy/backups"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/cmd/understudy/names"
	"github.com/understudy-ha/understudy/cmd/understudy/terminal"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/client"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
)

const promoteHelp = `Make this instance the active. Run it on the standby that is to take over.

It checks first whether that would work now, shows what would be lost, and asks.
Without a terminal it needs --yes. Then it shows each step as it is done. Up to the
commit a failure puts everything back as it was; the promotion goes on when you
interrupt this command.

  --switchover (the default)  the active makes a last backup, stops its application
                              and hands over; nothing is lost
  --failover                  the active is not asked; what came after the newest
                              backup is lost here, and salvaged by the old active
                              when it comes back

Nearly all that a failover takes is the wait for an active that was seen alive lately:
its application may still run, and it may say that it has stopped. --dry-run tells how
long that is at most. If you know that its host is off, --host-is-off ends the wait; your
word is recorded. Strict fencing takes nobody's word, and refuses. An active that ended
in good order, with its application, is not waited for.

On a host that has neither a demote hook nor understudy exec nothing but people can stop
the application. A switchover from there needs somebody who has stopped it by hand and
says so: to the question, with --application-is-stopped, or with --yes, which answers
every question. The word is recorded, and nobody looks.
A failover from there waits as for one that does not answer, unless the word is given;
if the application runs there, it runs on beside the new one.

` + idHelp + ` It is for an older backup
than the newest; backups that came after it stay listed as superseded.

With --time it goes to a moment: each PostgreSQL server whose log is in the bucket has
every commit up to the first one that is later, and everything else is as in the newest
backup that is not later. The server is built anew from its base and its log. What came
after the moment is not here; a failover's old active keeps it as a salvage backup. A
moment that cannot be reached is refused; understudy backups --windows lists those that
can be.

The log of a PostgreSQL server that was shipped after the backup is applied to it. Where
somebody has deleted or damaged that log in the bucket, a promotion refuses to go on
without it, and says which part is gone: put the part back, or promote --without-log,
which restores the backup as it is. The word is recorded.

A backup that this instance has rehearsed is swapped in at once; another one is
restored first, which takes as long as its size has it. One whose rehearsal failed
here is refused.

With --json the answer has, beside the promotion, takeover (what was lost, who has kept
it, and the commands to look at it; null while that is not known) and lacks (what the
backup in force could not keep), as status has them.

Exit codes: 3 when it is refused and nothing was begun, 1 when it was rolled back.`

func newPromote(a *app) *cobra.Command {
	p := promotion{app: a}
	var switchover, failover, cancel bool
	var moment string
	cmd := &cobra.Command{
		Use:   "promote [ID]",
		Short: "Make this instance the active",
		Long:  promoteHelp,
		Example: `  understudy promote --dry-run
  understudy promote
  understudy promote --failover --yes --reason "host-a is down"
  understudy promote --failover --host-is-off --reason "I pulled its plug"
  understudy promote --time 2026-03-01T12:00:00.25Z --reason "a table was dropped"
  understudy promote --application-is-stopped --reason "stopped by hand on host-a"
  understudy promote --cancel`,
		Args: arguments(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case p.req.HostIsOff && !failover:
				return exit.Usagef("--host-is-off goes with --failover: a switchover needs the active's help")
			case switchover && failover:
				return exit.Usagef("--switchover and --failover do not go together")
			case moment != "" && len(args) > 0:
				return exit.Usagef("--time comes with the newest backup that is not later: leave ID out")
			case moment != "" && p.req.WithoutLog:
				return exit.Usagef("--time and --without-log do not go together: the moment is in the log")
			case cancel && (len(args) > 0 || moment != "" || switchover || failover || p.req.DryRun):
				return exit.Usagef("--cancel goes alone: it gives up the promotion that is under way")
			case cancel:
				return p.cancel(cmd.Context())
			case failover:
				p.req.Mode = ha.ModeFailover
			default:
				p.req.Mode = ha.ModeSwitchover
			}
			if moment != "" {
				at, err := parseMoment(moment)
				if err != nil {
					return err
				}
				p.req.Moment = &at
			}
			return p.run(cmd.Context(), firstOf(args))
		},
	}
	a.addAgentFlag(cmd)
	f := cmd.Flags()
	f.BoolVar(&switchover, "switchover", false, "with the active's help, losing nothing (the default)")
	f.BoolVar(&failover, "failover", false, "without the active's help")
	f.BoolVar(&p.req.HostIsOff, "host-is-off", false, "your word that the active's host is off: a failover does not wait for its application")
	f.BoolVar(&p.req.AppIsStopped, "application-is-stopped", false, "your word that the active's application is stopped, where nothing but people can stop it")
	f.BoolVar(&p.req.WithoutLog, "without-log", false, "give up the logs that come after the backup, where the bucket's cannot be read")
	f.StringVar(&moment, "time", "", "go to this moment, like 2026-03-01T12:00:00.25Z or 2026-03-01T13:00:00+01:00")
	f.BoolVar(&p.req.DryRun, "dry-run", false, "only check, and show what would be lost")
	f.BoolVar(&cancel, "cancel", false, "give up the promotion that is under way")
	f.BoolVar(&p.yes, "yes", false, "do not ask: yes is the answer to every question")
	f.StringVar(&p.req.Reason, "reason", "", "why, for people")
	f.BoolVar(&p.req.AllowVersionMismatch, "allow-version-mismatch", false, "restore a backup of another version of the application")
	f.BoolVar(&p.req.AllowFailedRehearsal, "allow-failed-rehearsal", false, "restore a backup whose rehearsal failed here")
	f.BoolVar(&p.req.WaiveSalvage, "waive-salvage", false, "give up the salvage backup that this instance still owes")
	return a.completer().command(cmd, 1, names.Names.Backups)
}

// promotion is one run of the command.
type promotion struct {
	app *app
	req promotions.PromotionRequest
	yes bool
}

func (p *promotion) run(ctx context.Context, name string) error {
	ask := !p.yes && !p.req.DryRun
	if ask && !terminal.IsTerminal(p.app.std.In) {
		return exit.Usagef("there is no terminal to ask on: look with --dry-run, then promote with --yes")
	}
	c, err := p.app.agent()
	if err != nil {
		return err
	}
	if p.req.Backup, err = p.app.backups().Listed().Resolve(ctx, name); err != nil {
		return err
	}
	found, err := p.preflight(ctx, c)
	if err == nil && !p.req.DryRun && lacksWord(found) {
		found, err = p.giveWord(ctx, c, found)
	}
	if err != nil {
		return err
	}
	if p.req.DryRun {
		if err := p.app.printer().Show(found, func(w io.Writer) { showPreflight(w, found) }); err != nil {
			return err
		}
		return notNow(found)
	}
	if !p.app.json {
		showPreflight(p.app.std.Err, found)
	}
	if err := notNow(found); err != nil {
		return err
	}
	if ask {
		p.req.Shown = newestShown(found)
		if err := p.app.std.Confirm(ctx, "Promote this instance?", "not promoted, and nothing was begun"); err != nil {
			return err
		}
	}
	return p.begin(ctx, c)
}

// cancel gives up the promotion that is under way, and waits until everything
// is put back.
func (p *promotion) cancel(ctx context.Context) error {
	c, err := p.app.agent()
	if err != nil {
		return err
	}
	var s report.Status
	if err := c.Get(ctx, "/api/v1/status", &s); err != nil {
		return err
	}
	if s.Promotion == nil {
		return exit.Refusedf("no promotion is under way on this instance")
	}
	id := s.Promotion.ID
	if err := c.Do(ctx, http.MethodDelete, "/api/v1/promotions/"+url.PathEscape(id), nil, nil); err != nil {
		return err
	}
	status, err := p.follow(ctx, c, id)
	if err != nil {
		return err
	}
	if status.State == promotions.PromotionDone {
		return exit.Refusedf("it was too late: this instance is the active, in epoch %d", status.Epoch)
	}
	return p.app.printer().Show(status, func(w io.Writer) {
		fmt.Fprintln(w, "The promotion is given up; everything is as it was before.")
	})
}

// preflight asks what a promotion would do now.
func (p *promotion) preflight(ctx context.Context, c *agentclient.Client) (promotions.Preflight, error) {
	req := p.req
	req.DryRun = true
	var found promotions.Preflight
	err := c.Do(ctx, http.MethodPost, "/api/v1/promotions", req, &found)
	if agentclient.NotThere(err) && p.req.Backup != "" {
		err = backups.NoBackup(p.req.Backup)
	}
	return found, err
}

// lacksWord reports whether all that keeps a promotion from being made is that nobody
// has said that the application of the active is stopped.
func lacksWord(found promotions.Preflight) bool {
	failed := slices.DeleteFunc(slices.Clone(found.Checks), func(c promotions.Check) bool { return c.OK })
	return len(failed) == 1 && failed[0].Name == promotions.StopsCheck && found.Mode == ha.ModeSwitchover
}

// giveWord asks whether the application of the active is stopped, which --yes answers,
// and looks again with that word.
func (p *promotion) giveWord(ctx context.Context, c *agentclient.Client, found promotions.Preflight) (promotions.Preflight, error) {
	if p.req.AppIsStopped { // and strict fencing does not take it
		return found, nil
	}
	const what = "Nothing but people can stop the application of the active."
	if p.yes {
		p.app.printer().Note("%s --yes says that somebody has; this word is recorded.", what)
	} else if err := p.app.std.Confirm(ctx, what+" Has somebody stopped it?", "not promoted, and nothing was begun"); err != nil {
		return found, err
	}
	p.req.AppIsStopped = true
	return p.preflight(ctx, c)
}

// notNow says why a promotion cannot be made; nil when it can.
func notNow(found promotions.Preflight) error {
	if found.OK {
		return nil
	}
	var why []string
	for _, c := range found.Checks {
		if !c.OK {
			why = append(why, c.Detail)
		}
	}
	return exit.Refusedf("not promoted, and nothing was begun: %s", strings.Join(why, "; "))
}

// newestShown is the newest backup that the preflight named.
func newestShown(found promotions.Preflight) string {
	if len(found.Loss.Newer) > 0 {
		return found.Loss.Newer[0]
	}
	return found.Backup.ID
}

// begin begins the promotion and follows it to its end.
func (p *promotion) begin(ctx context.Context, c *agentclient.Client) error {
	var status promotions.PromotionStatus
	if err := c.Do(ctx, http.MethodPost, "/api/v1/promotions", p.req, &status); err != nil {
		return err
	}
	status, err := p.follow(ctx, c, status.ID)
	if err != nil {
		return err
	}
	result := promotedJSON{PromotionStatus: status}
	if status.State != promotions.PromotionDone {
		return errors.Join(p.app.printer().Show(result, func(io.Writer) {}), outcome(status))
	}
	s, unknown := afterwards(ctx, c, status.Epoch)
	result.Lacks, result.Takeover, result.AppError = s.Lacks, s.Takeover, s.AppError
	if err := p.app.printer().Show(result, func(w io.Writer) { showPromoted(w, result) }); err != nil {
		return err
	}
	if unknown != nil {
		return unknown
	}
	return applicationRuns(s)
}

// promotedJSON is what `promote` prints with --json once the promotion has ended:
// the promotion, and what status says of it then.
type promotedJSON struct {
	promotions.PromotionStatus
	// Takeover says what was lost and how to look at it (lost), and who has kept what
	// (salvaged); null while that could not be looked up.
	Takeover *control.Takeover `json:"takeover"`
	// Lacks is what the backup that is in force could not keep.
	Lacks []string `json:"lacks,omitempty"`
	// AppError is why the application does not run.
	AppError string `json:"application_error,omitempty"`
}

// afterwardsTries is how often an agent is asked what its promotion has lost,
// which it looks up once that is done.
const afterwardsTries = 25

// afterwards is the status after a promotion, with what that has lost, as soon as
// it is known.
func afterwards(ctx context.Context, c *agentclient.Client, epoch uint64) (s report.Status, err error) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for range afterwardsTries {
		s = report.Status{}
		if err := c.Get(ctx, "/api/v1/status", &s); err != nil {
			return s, fmt.Errorf("promoted; ask how it is now: %w", err)
		}
		if s.Takeover != nil && s.Takeover.Epoch >= epoch && s.LastBackup != nil {
			break
		}
		select {
		case <-ctx.Done():
			return s, ctx.Err()
		case <-tick.C:
		}
	}
	return s, nil
}

// applicationRuns is an error when a promotion has made this instance the
// active, but its application could not be started.
func applicationRuns(s report.Status) error {
	if s.AppError == "" {
		return nil
	}
	return exit.With(exit.ErrFailed, fmt.Errorf(
		"promoted, but the application does not run (%s): it is tried again; what the hook printed is in hooks/ in the data folder", s.AppError))
}

// outcome is the error that a promotion ended with. One that had not got as far
// as its first step was refused: nothing was begun.
func outcome(s promotions.PromotionStatus) error {
	switch {
	case s.State == promotions.PromotionDone:
		return nil
	case s.State == promotions.PromotionRefused, len(s.Steps) == 0:
		return exit.Refusedf("not promoted, and nothing was begun: %s", s.Error)
	default:
		return exit.With(exit.ErrFailed, fmt.Errorf("not promoted, and everything is as before: %s", s.Error))
	}
}

// follow shows a promotion's steps until it has ended.
func (p *promotion) follow(ctx context.Context, c *agentclient.Client, id string) (promotions.PromotionStatus, error) {
	view := promotionView{printer: p.app.printer(), progress: p.app.progress()}
	defer view.progress.End()
	var last promotions.PromotionStatus
	ended := false
	err := c.Stream(ctx, "/api/v1/promotions/"+url.PathEscape(id), func(e client.Event) error {
		switch e.Name {
		case "step":
			var s ha.Step
			if err := json.Unmarshal(e.Data, &s); err != nil {
				return fmt.Errorf("read a step of the promotion: %w", err)
			}
			view.step(s)
		case "status", "end":
			last = promotions.PromotionStatus{}
			if err := json.Unmarshal(e.Data, &last); err != nil {
				return fmt.Errorf("read the promotion: %w", err)
			}
			view.status(last)
			ended = e.Name == "end"
		}
		return nil
	})
	switch {
	case ended:
		return last, nil
	case ctx.Err() != nil:
		return last, errors.New("the promotion goes on without you; watch it with understudy status --watch, give it up with understudy promote --cancel")
	case err != nil && !errors.Is(err, agentclient.ErrEnded):
		return last, fmt.Errorf("follow the promotion, which may go on: %w", err)
	}
	return last, exit.With(exit.ErrFailed, errors.New("the agent stopped before the promotion had ended; it rolls back or finishes when it is started again (understudy serve)"))
}

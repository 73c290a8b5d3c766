package promotions

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/holder"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/membership"
	"github.com/understudy-ha/understudy/ha/report"
)

// Preflight says whether a promotion would work now, and what it would lose.
// It changes nothing. A backup that does not exist is ErrNoBackup.
func (o *Promotions) Preflight(ctx context.Context, req PromotionRequest) (Preflight, error) {
	p, _, err := o.preflight(ctx, req)
	if err != nil {
		return p, fmt.Errorf("check the promotion: %w", err)
	}
	return p, nil
}

func (o *Promotions) preflight(ctx context.Context, req PromotionRequest) (Preflight, choice, error) {
	p := Preflight{Mode: req.Mode}
	switch req.Mode {
	case "":
		p.Mode = ha.ModeSwitchover
	case ha.ModeSwitchover, ha.ModeFailover:
	default:
		return p, choice{}, ha.Invalidf("there is no promotion mode %q: it is %s or %s", req.Mode, ha.ModeSwitchover, ha.ModeFailover)
	}
	o.host.Asking.AwaitLook(ctx)
	s := o.host.Status()
	p.check("role", roleCheck(s, req))
	h, err := o.host.Control.Head(ctx)
	if control.Unreachable(err) {
		err = fmt.Errorf("%w: %w", control.ErrBucket, err)
	}
	if err != nil {
		return p, choice{}, err
	}
	if text := control.OlderText(h, s.Seen); text != "" {
		p.check("head", errors.New(text))
	}
	at, err := o.moment(ctx, &req)
	if err != nil {
		return p, choice{}, err
	}
	info, m, err := o.host.Catalogue.Find(ctx, h, req.Backup)
	if err != nil {
		return p, choice{}, err
	}
	m = at.manifest(m)
	p.Backup, p.Moment = info, req.Moment
	c, err := o.choose(ctx, h, req, info)
	if err != nil {
		return p, choice{}, err
	}
	if info.Unlinked {
		p.Checks = append(p.Checks, Check{Name: "chain", OK: true, Detail: "nothing that can be read leads to this backup: its signature alone vouches for it"})
	}
	p.checkRehearsal(o, req, info.ID)
	p.checkHost(ctx, o, m, req.AllowVersionMismatch)
	p.check("heartbeat", heartbeatCheck(s, p.Mode))
	if err := p.checkStops(ctx, o, h, req); err != nil {
		return p, c, err
	}
	p.checkWait(s, h, req)
	p.Loss, err = o.loss(ctx, s, h, req, p.Mode, info, m, at)
	p.OK = !slices.ContainsFunc(p.Checks, func(c Check) bool { return !c.OK })
	return p, c, err
}

// check notes what a look at one thing gave.
func (p *Preflight) check(name string, err error) {
	c := Check{Name: name, OK: err == nil, Detail: "good"}
	if err != nil {
		c.Detail = err.Error()
	}
	p.Checks = append(p.Checks, c)
}

// checkHost looks whether this host has what a promotion to a backup needs.
func (p *Preflight) checkHost(ctx context.Context, o *Promotions, m *backup.Manifest, anyVersion bool) {
	if unkept := o.host.State.View().Unkept; unkept != "" {
		p.Notes = append(p.Notes, membership.UnkeptText(unkept))
	}
	p.checkKey(m, o)
	p.check("version", o.versionCheck(ctx, m, anyVersion))
	p.check("restore", o.host.CheckRestore(ctx, m))
	for _, src := range o.host.InForce().Sources {
		p.checkSource(ctx, o, src)
	}
	o.checkHooks(p)
	p.checkFencing(o)
	p.checkHolders(ctx, o)
}

// checkSource looks whether a source can be replaced here, and what of it would
// stay behind.
func (p *Preflight) checkSource(ctx context.Context, o *Promotions, src source.Source) {
	err := errors.Join(source.CheckRestore(ctx, src), o.host.CheckVolumes(ctx, src))
	p.check("source "+src.Name(), err)
	if err != nil {
		return
	}
	lasting, err := source.Lasting(ctx, src)
	if err != nil {
		lasting = []string{"what of it can be deleted is not known: " + err.Error()}
	}
	if len(lasting) == 0 {
		return
	}
	note := fmt.Sprintf("source %s: what a promotion replaces here could not be deleted, and would take room until somebody does: %s", src.Name(), strings.Join(lasting, ", "))
	p.Checks[len(p.Checks)-1].Detail = note
	p.Notes = append(p.Notes, note)
}

func (p *Preflight) checkKey(m *backup.Manifest, o *Promotions) {
	_, err := o.host.Ring.Unwrap(m.DataKey, o.host.Control.Cluster())
	p.check("key", err)
}

func roleCheck(s report.Status, req PromotionRequest) error {
	d := s.Demotion
	switch {
	case s.Promotion != nil:
		return fmt.Errorf("a promotion is under way here already (%s)", s.Promotion.ID)
	case s.Role == ha.RoleActive && s.Refused == "":
		return fmt.Errorf("%s is the active already", s.Instance)
	case d != nil && !d.Acked:
		return fmt.Errorf("%s is still stepping down from epoch %d", s.Instance, d.Epoch)
	case d != nil && !d.Made && !req.WaiveSalvage:
		return fmt.Errorf("%s still owes a salvage backup of its state in epoch %d, which a promotion would replace; wait for it, or waive it", s.Instance, d.Epoch)
	}
	return nil
}

// choose tells the machine's choice from what the operator asked for. The
// newest by its id is the newest: a switchover restores the final backup then.
func (o *Promotions) choose(ctx context.Context, h *ha.Head, req PromotionRequest, info control.BackupInfo) (choice, error) {
	var c choice
	if !info.Newest || req.Moment != nil {
		ref := info.Ref
		c.backup = &ref
	}
	if req.Shown != "" {
		shown, _, err := o.host.Catalogue.Find(ctx, h, req.Shown)
		if err != nil {
			return c, err
		}
		c.shown = &shown.Ref
	}
	if req.Backup != "" && req.Moment == nil && c.shown == nil && info.Newest {
		ref := info.Ref
		c.shown = &ref
	}
	return c, nil
}

func (o *Promotions) versionCheck(ctx context.Context, m *backup.Manifest, allow bool) error {
	if o.host.InForce().Version == nil || m.AppVersion == "" || allow {
		return nil
	}
	v, err := o.host.Version(ctx)
	if err != nil {
		return fmt.Errorf("the application's version here is not known: %w", err)
	}
	if v != m.AppVersion {
		return fmt.Errorf("the backup is of application version %s, installed here is %s: install that version, or promote with --allow-version-mismatch", m.AppVersion, v)
	}
	return nil
}

// checkHooks looks whether the hooks of a promotion could be run.
func (o *Promotions) checkHooks(p *Preflight) {
	hooks := o.host.InForce().Hooks
	for _, h := range []struct {
		name    string
		command []string
	}{
		{"promote", hooks.Promote.Command},
		{"demote", hooks.Demote.Command},
		{"probe", hooks.Probe.Command},
	} {
		if len(h.command) > 0 {
			_, err := exec.LookPath(h.command[0])
			p.check("hook "+h.name, err)
		}
	}
}

func heartbeatCheck(s report.Status, mode ha.Mode) error {
	if mode == ha.ModeSwitchover && s.Silent() {
		return fmt.Errorf("the active %s has shown no sign of life for %s, so it cannot hand over: promote without its help: understudy promote --failover", s.Active, report.Seconds(s.HeadAge))
	}
	return nil
}

// checkWait says for how long the promotion would wait for the old active.
func (p *Preflight) checkWait(s report.Status, h *ha.Head, req PromotionRequest) {
	if req.HostIsOff {
		var err error
		if why := ha.RefuseHostIsOff(p.Mode, h.Fencing.Mode); why != "" {
			err = errors.New(why)
		}
		p.check("host is off", err)
	}
	if p.Mode == ha.ModeFailover && (!req.HostIsOff || h.Fencing.Mode == ha.Strict) {
		p.Wait = s.FailoverWait
	}
}

// loss says what the promotion would lose.
func (o *Promotions) loss(ctx context.Context, s report.Status, h *ha.Head, req PromotionRequest, mode ha.Mode, chosen control.BackupInfo, m *backup.Manifest, at *moment) (Loss, error) {
	l := Loss{BackupAge: max(0, o.host.Clock.Now().Wall.Sub(chosen.Time)).Seconds(), Heartbeat: -1}
	if s.HeadAlive {
		l.Heartbeat = s.HeadAge
	}
	var err error
	if l.Reported, err = o.reported(ctx, h.Active.Name, m); err != nil {
		return l, err
	}
	if !chosen.Newest {
		if l.Newer, err = o.host.Chain.Newer(ctx, h, chosen.Ref); err != nil {
			return l, err
		}
	}
	if at != nil {
		l.Sources = o.pointsAt(s, chosen, at)
	} else {
		l.Sources = o.points(s, h, chosen, req.WithoutLog, m)
	}
	l.Reported.drop(l.Sources)
	age := time.Duration(l.BackupAge * float64(time.Second)).Round(time.Second)
	switch {
	case at != nil:
		l.Summary = at.lost(chosen.ID, len(l.Newer))
	case mode == ha.ModeSwitchover && chosen.Newest:
		l.Summary = fmt.Sprintf("nothing: %s makes a final backup first", s.Active)
	case chosen.Newest && len(l.Sources) > 0:
		l.Summary = "what came after the recovery point of each source"
	case chosen.Newest:
		l.Summary = fmt.Sprintf("what was changed after backup %s, %v ago", chosen.ID, age)
	default:
		l.Summary = fmt.Sprintf("what was changed after backup %s, %v ago; %d newer backups would be superseded", chosen.ID, age, len(l.Newer))
	}
	return l, nil
}

// checkHolders says who has open what a promotion would replace. That is in its
// way only where no demote hook could stop it.
func (p *Preflight) checkHolders(ctx context.Context, o *Promotions) {
	found, err := o.host.Holders(ctx)
	var text []string
	if len(found.Holders) > 0 {
		text = append(text, holder.Names(found.Holders))
		if !o.host.RunsApplication && len(o.host.InForce().Hooks.Demote.Command) == 0 {
			err = errors.New(text[0] + ": stop it, or configure a demote hook that does")
		} else {
			text = append(text, "the demote hook has to stop it, or the promotion will be given up")
		}
	}
	if found.Blind != "" {
		text = append(text, found.Blind)
	}
	p.check("open files", err)
	if last := &p.Checks[len(p.Checks)-1]; last.OK && len(text) > 0 {
		last.Detail = strings.Join(text, "; ")
	}
}

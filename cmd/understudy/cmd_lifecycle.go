package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/backup/retention"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/cmd/understudy/buckets"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/cmd/understudy/terminal"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/upkeep"
)

// lifecycleJSON is what `lifecycle show` and `lifecycle apply` print with
// --json.
type lifecycleJSON struct {
	Supported        bool                  `json:"supported"`  // the store has rules that can be read and set here
	AppliedBy        string                `json:"applied_by"` // "bucket" or "agent"
	Configured       upkeep.RetentionTimes `json:"configured"`
	Effective        upkeep.RetentionTimes `json:"effective"`
	LongerPacksUntil *time.Time            `json:"longer_packs_until,omitempty"`
	Rules            []ruleJSON            `json:"rules"`
	Problems         []string              `json:"problems,omitempty"`
}

// ruleJSON is a rule that is wanted, in force, or both. Ages are in days; 0 is
// none.
type ruleJSON struct {
	Prefix               string            `json:"prefix"`
	Name                 string            `json:"name,omitempty"`
	WantedDays           int               `json:"wanted_days,omitempty"`
	Days                 int               `json:"days,omitempty"`
	WantedNoncurrentDays int               `json:"wanted_noncurrent_days,omitempty"`
	NoncurrentDays       int               `json:"noncurrent_days,omitempty"`
	WantedUploadDays     int               `json:"wanted_upload_days,omitempty"`
	UploadDays           int               `json:"upload_days,omitempty"`
	Own                  bool              `json:"own"`
	Narrowed             bool              `json:"narrowed,omitempty"`
	Verdict              retention.Verdict `json:"verdict"`

	compared retention.Comparison
}

func newLifecycle(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lifecycle",
		Short: "Show or set the rules by which the bucket deletes old backups",
		Long: `Show or set the rules by which the bucket itself deletes old backups. They follow
from retention and reuse_window (understudy config): manifests go after retention,
packs after retention plus reuse_window plus a day. In a bucket that keeps versions,
an earlier version of either stays as long as a pack, one of a control object as long
as a manifest. No rule is about anything but what understudy itself writes.

A store without such rules needs none: the active then deletes what has expired.`,
		Example: `  understudy lifecycle show
  understudy lifecycle apply`,
		Args: subcommandOnly,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		&cobra.Command{
			Use:   "show",
			Short: "Show the rules that are wanted beside those that the bucket has",
			Long: `Show the rules that are wanted beside those that the bucket has, what they come to,
and every other rule of the bucket that touches the cluster's objects. It needs the
key and the bucket, and no running agent.`,
			Example: `  understudy lifecycle show`,
			Args:    arguments(cobra.NoArgs),
			RunE:    func(cmd *cobra.Command, _ []string) error { return a.lifecycle(cmd.Context(), false) },
		},
		&cobra.Command{
			Use:   "apply",
			Short: "Set the rules in the bucket, and read them back",
			Long: `Set the rules in the bucket, read them back and compare them. Rules that are not
understudy's own stay as they are. It needs the key, the bucket and the permission
to change its lifecycle configuration; it needs no running agent.

After reuse_window was made shorter, packs keep their longer rule until the backups
made before have expired; the command says until when: run it again then. Exit code 4
when the store accepted the rules and does not have them.`,
			Example: `  understudy config set retention 30d
  understudy lifecycle apply`,
			Args: arguments(cobra.NoArgs),
			RunE: func(cmd *cobra.Command, _ []string) error { return a.lifecycle(cmd.Context(), true) },
		},
	)
	return cmd
}

// lifecycle shows the bucket's rules, once they are applied if that is wanted.
func (a *app) lifecycle(ctx context.Context, apply bool) error {
	store, bucket, err := a.buckets().Look(ctx)
	if err != nil {
		return err
	}
	promise, err := bucket.Promise(ctx)
	if err != nil {
		return err
	}
	var inForce []blobstore.Rule
	if store.Lifecycle != nil {
		if apply {
			inForce, err = buckets.ApplyRules(ctx, store.Lifecycle, promise.Rules)
		} else {
			inForce, err = store.Lifecycle.Rules(ctx)
		}
		if errors.Is(err, blobstore.ErrNoRules) {
			store.Lifecycle, err = nil, nil
		}
		if err != nil && !errors.Is(err, blobstore.ErrRulesLost) {
			return fmt.Errorf("lifecycle rules of the bucket: %w", err)
		}
	}
	v := viewRules(store.Lifecycle != nil, promise, inForce)
	if shown := a.printer().Show(v, func(w io.Writer) { showLifecycle(w, v) }); shown != nil {
		return shown
	}
	if err != nil {
		return exit.With(exit.ErrBucket, fmt.Errorf("%w: the active deletes what has expired, and needs the permission to list and delete", err))
	}
	return nil
}

// viewRules compares what is wanted with what is in force.
func viewRules(supported bool, p control.Promise, inForce []blobstore.Rule) lifecycleJSON {
	standing := p.Configured.Under(inForce)
	v := lifecycleJSON{
		Supported: supported, AppliedBy: upkeep.AppliedByBucket,
		Configured: upkeep.NewRetentionTimes(standing.Wanted), Effective: upkeep.NewRetentionTimes(standing.Effective),
		Problems: slices.Concat(control.Threats(inForce), standing.Problems, control.ShortVersions(p.Configured, inForce)),
	}
	if !standing.ByBucket() {
		v.AppliedBy = upkeep.AppliedByAgent
	}
	if !p.Until.IsZero() {
		v.LongerPacksUntil = &p.Until
	}
	for _, c := range retention.Compare(control.Rules(p.Rules), inForce) {
		r := ruleJSON{
			Prefix: c.InForce.Prefix, Name: c.InForce.Name, Own: c.InForce.Own, Narrowed: c.InForce.Narrowed, Verdict: c.Verdict,
			Days: c.InForce.Days, NoncurrentDays: c.InForce.NoncurrentDays, UploadDays: c.InForce.UploadDays,
			WantedDays: c.Wanted.Days, WantedNoncurrentDays: c.Wanted.NoncurrentDays, WantedUploadDays: c.Wanted.UploadDays,
			compared: c,
		}
		v.Rules = append(v.Rules, r)
	}
	return v
}

func showLifecycle(w io.Writer, v lifecycleJSON) {
	var rows [][]any
	for _, r := range v.Rules {
		prefix, verdict := r.Prefix, string(r.Verdict)
		if prefix == "" {
			prefix = "(all keys)"
		}
		if !v.Supported {
			verdict = "done by the active"
			if r.WantedDays == 0 {
				verdict = "not done here"
			}
		}
		if r.Narrowed {
			verdict += ", for some of them only"
		}
		rows = append(rows, []any{prefix, ruleAges(r.compared.Wanted), ruleAges(r.compared.InForce), verdict, r.Name})
	}
	terminal.Table(w, []any{"PREFIX", "WANTED", "IN FORCE", "VERDICT", "RULE"}, rows)
	fmt.Fprintln(w)
	switch {
	case !v.Supported:
		fmt.Fprintln(w, "This store has no rules that understudy could read or set: the active deletes what\nhas expired, by the ages above.")
	case v.AppliedBy == upkeep.AppliedByAgent:
		fmt.Fprintln(w, "The bucket does not have all rules: the active deletes what they leave. Set them with:\nunderstudy lifecycle apply")
	default:
		fmt.Fprintln(w, "The bucket deletes what has expired.")
	}
	if v.LongerPacksUntil != nil {
		fmt.Fprintf(w, "Packs are kept for longer until %s, because reuse_window was longer before.\n", terminal.Stamp(*v.LongerPacksUntil))
	}
	fmt.Fprintf(w, "Backups are restorable for %s", terminal.Days(time.Duration(v.Effective.Retention)))
	if v.Effective != v.Configured {
		fmt.Fprintf(w, " instead of %s; their data is stored again after %s instead of %s",
			terminal.Days(time.Duration(v.Configured.Retention)), terminal.Days(time.Duration(v.Effective.ReuseWindow)), terminal.Days(time.Duration(v.Configured.ReuseWindow)))
	}
	fmt.Fprintln(w, ".")
	for _, problem := range v.Problems {
		fmt.Fprintln(w, "  -", problem)
	}
}

// ruleAges says what a rule deletes, and when.
func ruleAges(e blobstore.Rule) string {
	var parts []string
	add := func(what string, n int) {
		if n > 0 {
			parts = append(parts, what+english.Plural(n, "day", ""))
		}
	}
	add("", e.Days)
	add("old versions ", e.NoncurrentDays)
	add("incomplete uploads ", e.UploadDays)
	if parts == nil {
		return "-"
	}
	return strings.Join(parts, ", ")
}

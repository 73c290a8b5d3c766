package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/backup/retention"
	"github.com/understudy-ha/understudy/cmd/understudy/buckets"
	"github.com/understudy-ha/understudy/cmd/understudy/doctor"
	"github.com/understudy-ha/understudy/cmd/understudy/instance"
	"github.com/understudy-ha/understudy/cmd/understudy/settings"
	"github.com/understudy-ha/understudy/cmd/understudy/terminal"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/agent"
)

// memberJSON is what `init` and `join` print with --json.
type memberJSON struct {
	Cluster  string   `json:"cluster"`
	Instance string   `json:"instance"`
	URL      string   `json:"url,omitempty"`
	Role     ha.Role  `json:"role"`
	Keys     []string `json:"keys"` // ids
	// Already is true when nothing was done, because nothing had to be.
	Already bool `json:"already"`
	// Blockers are what keeps this host from taking over; of join.
	Blockers []string `json:"blockers,omitempty"`
	// Unkept is what this host has that no backup is known to have; of join.
	Unkept string `json:"unkept,omitempty"`
	// Settled says how an interrupted restore ended; of join.
	Settled *agent.Settlement `json:"settled,omitempty"`
	// ExpiryBy says who deletes what has expired: "bucket" or "agent"; of init.
	ExpiryBy string `json:"expiry_applied_by,omitempty"`
}

func newInit(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "init",
		Short: "Make the cluster in an empty bucket, with this host as its active",
		Long: `Make the cluster in an empty bucket, with this host as its active. The
application goes on as it is; its state is backed up from the first
understudy serve on.

Others reach this host at UNDERSTUDY_URL, which the cluster is told. An init that
was interrupted can be run again, and on a host that is in this cluster already it
does nothing.`,
		Example: `  understudy init --bucket s3://backups/myapp --key-file /etc/understudy/key --url https://host-a:7878`,
		Args:    arguments(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.init(cmd.Context()) },
	}
}

func (a *app) init(ctx context.Context) error {
	cfg, c, err := a.instance().Config(ctx)
	if err != nil {
		return err
	}
	if done, err := a.already(ctx, cfg); done || err != nil {
		return err
	}
	shared := instance.SharedAtFirst(cfg)
	cluster, err := agent.Init(ctx, cfg, shared)
	if err != nil {
		return err
	}
	by, expiry := buckets.FirstRules(ctx, cfg.Lifecycle, retention.Policy{Keep: time.Duration(shared.Retention), Reuse: time.Duration(shared.ReuseWindow)})
	result := memberJSON{Cluster: cluster, Instance: cfg.Instance, URL: cfg.URL, Role: ha.RoleActive, Keys: cfg.Ring.IDs(), ExpiryBy: by}
	if err := a.printer().Show(result, func(w io.Writer) {
		fmt.Fprintf(w, "Cluster %s is made, and %s is its active.\n\n", cluster, cfg.Instance)
		fmt.Fprintf(w, "Keep a copy of the key (%s) where this host's fate does not reach: without it\nnothing in the bucket can be read.\n\n", strings.Join(result.Keys, ", "))
		fmt.Fprintf(w, "Next: understudy serve, here; then understudy join and understudy serve on each standby.\n")
	}); err != nil {
		return err
	}
	warnMember(ctx, a.printer(), a.set, c, cfg)
	a.printer().Note("\n%s", expiry)
	return nil
}

// already says that this host is in the bucket's cluster, if it is.
func (a *app) already(ctx context.Context, cfg agent.Config) (bool, error) {
	j, err := instance.Already(ctx, cfg)
	if err != nil || j == nil {
		return false, err
	}
	result := memberJSON{Cluster: j.Cluster, Instance: j.Instance, URL: cfg.URL, Role: j.Role, Keys: cfg.Ring.IDs(), Already: true}
	return true, a.printer().Show(result, func(w io.Writer) {
		fmt.Fprintf(w, "%s is in cluster %s already (%s): nothing to do. Start it with: understudy serve\n", j.Instance, j.Cluster, j.Role)
	})
}

// warnMember says what would make a promotion unsafe on this host.
func warnMember(ctx context.Context, p terminal.Printer, set *settings.Host, c *settings.File, cfg agent.Config) {
	for _, problem := range set.Exposed() {
		p.Note("%s", problem)
	}
	if cfg.URL == "" {
		p.Note("UNDERSTUDY_URL is not set: the others cannot notify this host, which then sees what is new at its next poll (%v).", cfg.Poll)
	}
	for _, found := range doctor.Boot(ctx, c.Hooks) {
		if found.Result != doctor.Good {
			p.Note("%s: %s", found.Name, found.Detail)
		}
	}
}

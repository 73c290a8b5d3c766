package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/cmd/understudy/names"
	"github.com/understudy-ha/understudy/cmd/understudy/terminal"
	"github.com/understudy-ha/understudy/ha/api"
	"github.com/understudy-ha/understudy/ha/event"
)

func newWebhooks(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "webhooks",
		Short: "Show who else is told of events, add or remove a webhook",
		Long: `Show the webhooks: URLs that are told of events as they happen. They belong to the
cluster; each instance tells of its own events. The numbers are this instance's.

Messages are signed as Standard Webhooks (standardwebhooks.com) says, and tried
again for three days.`,
		Example: `  understudy webhooks
  understudy webhooks add https://example.com/hook --levels warn,alarm`,
		Args: subcommandOnly,
		RunE: a.listWebhooks,
	}
	a.addAgentFlag(cmd)
	list := &cobra.Command{
		Use: "list", Short: "Show the webhooks", Long: "Show the webhooks, as understudy webhooks does.",
		Example: `  understudy webhooks list --json`, Args: arguments(cobra.NoArgs), RunE: a.listWebhooks,
	}
	a.addAgentFlag(list)
	cmd.AddCommand(list, newWebhooksAdd(a), newWebhooksRemove(a), newWebhooksTest(a))
	return cmd
}

func (a *app) listWebhooks(cmd *cobra.Command, _ []string) error {
	c, err := a.agent()
	if err != nil {
		return err
	}
	var list api.Webhooks
	if err := c.Get(cmd.Context(), "/api/v1/webhooks", &list); err != nil {
		return err
	}
	return a.printer().Show(list.Webhooks, func(w io.Writer) { showWebhooks(w, list.Webhooks) })
}

func newWebhooksAdd(a *app) *cobra.Command {
	var kinds, levels []string
	cmd := &cobra.Command{
		Use:   "add URL",
		Short: "Have a URL told of events",
		Long: `Have a URL told of events from now on, on the active. The secret by which the
receiver verifies the messages is printed this once. Addresses of your own network
are allowed; redirects are not followed.

` + kindsHelp(),
		Example: `  understudy webhooks add https://example.com/hook --kinds promotion,demotion,backup --levels warn,alarm`,
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			req := api.WebhookRequest{URL: args[0], Kinds: kinds}
			for _, l := range levels {
				req.Levels = append(req.Levels, event.Level(l))
			}
			c, err := a.agent()
			if err != nil {
				return err
			}
			var added api.AddedWebhook
			if err := c.Do(cmd.Context(), http.MethodPost, "/api/v1/webhooks", req, &added); err != nil {
				return meant(meant(err, "kinds of events", names.Kinds(), kinds...), "levels", names.Levels(), levels...)
			}
			return a.printer().Show(added, func(w io.Writer) {
				fmt.Fprintf(w, "Webhook %s is added. Its secret, which is shown this once:\n\n  %s\n\nTry it: understudy webhooks test %s\n", added.ID, added.Secret, added.ID)
			})
		},
	}
	a.addAgentFlag(cmd)
	cmd.Flags().StringSliceVar(&kinds, "kinds", nil, "of these kinds of events only")
	cmd.Flags().StringSliceVar(&levels, "levels", nil, "of events of these levels only: info, warn, alarm")
	a.completer().flag(cmd, "kinds", fixed(names.Kinds()...))
	a.completer().flag(cmd, "levels", fixed(names.Levels()...))
	return cmd
}

func newWebhooksRemove(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "remove ID",
		Short:   "Remove a webhook",
		Long:    `Remove a webhook, on the active. What was still to be delivered is dropped.`,
		Example: `  understudy webhooks remove 1f0c22ab`,
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			err := a.tell(cmd.Context(), http.MethodDelete, "/api/v1/webhooks/"+url.PathEscape(args[0]), nil, "Webhook "+args[0]+" is removed.")
			return a.meantOf(cmd.Context(), err, "webhooks", names.Names.Webhooks, args[0])
		},
	}
	a.addAgentFlag(cmd)
	return a.completer().command(cmd, 1, names.Names.Webhooks)
}

func newWebhooksTest(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "test ID",
		Short:   "Send a message to a webhook, once and at once",
		Long:    `Send a message to a webhook from this instance, once and at once, and say how it went.`,
		Example: `  understudy webhooks test 1f0c22ab`,
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.agent()
			if err != nil {
				return err
			}
			var result api.WebhookTest
			if err := c.Do(cmd.Context(), http.MethodPost, "/api/v1/webhooks/"+url.PathEscape(args[0])+"/test", nil, &result); err != nil {
				return a.meantOf(cmd.Context(), err, "webhooks", names.Names.Webhooks, args[0])
			}
			if !result.Delivered {
				return exit.With(exit.ErrFailed, fmt.Errorf("not delivered: %s", result.Error))
			}
			return a.printer().Show(result, func(w io.Writer) { fmt.Fprintln(w, "Delivered.") })
		},
	}
	a.addAgentFlag(cmd)
	return a.completer().command(cmd, 1, names.Names.Webhooks)
}

func showWebhooks(w io.Writer, all []api.Webhook) {
	if len(all) == 0 {
		fmt.Fprintln(w, "No webhooks. Add one with: understudy webhooks add URL")
		return
	}
	var rows [][]any
	for _, h := range all {
		levels := make([]string, len(h.Levels))
		for i, l := range h.Levels {
			levels[i] = string(l)
		}
		rows = append(rows, []any{h.ID, h.URL, anyOf(h.Kinds), anyOf(levels), h.Delivered, h.Failed, h.Pending, h.Lost, h.LastError})
	}
	terminal.Table(w, []any{"ID", "URL", "KINDS", "LEVELS", "DELIVERED", "FAILED", "PENDING", "LOST", "LAST ERROR"}, rows)
}

func anyOf(list []string) string {
	if len(list) == 0 {
		return "all"
	}
	return strings.Join(list, ",")
}

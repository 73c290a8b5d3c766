package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/cmd/understudy/keyring"
	"github.com/understudy-ha/understudy/cmd/understudy/names"
)

func newKeyAdd(a *app) *cobra.Command {
	var from string
	cmd := &cobra.Command{
		Use:   "add",
		Short: "Give the key file a new key, not yet in use",
		Long: `Give the key file a new key, which this host then knows and uses for nothing yet:
the first step of a rotation. Without --from the key is generated.

Then carry the key file to every host (or the new key, with add --from there),
restart every agent, and when all of them know the key: understudy key activate.`,
		Example: `  understudy key add
  ssh host-a cat new-key | understudy key add --from -`,
		Args: arguments(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			k, err := a.keyring().New(from, a.std.In)
			if err != nil {
				return err
			}
			return a.changeKeys(func(r *seal.Ring) (*seal.Ring, error) { return r.Add(k) },
				fmt.Sprintf("Key %s is added. Carry the key file to every host and restart every agent; then: understudy key activate %s", k.ID(), k.ID()))
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "file with the key, or - for standard input (a new one is generated)")
	return cmd
}

func newKeyActivate(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "activate ID",
		Short: "Have this host use a key for all that is new",
		Long: `Have this host use a key of its key file for all that is new: the second step of a
rotation, done on every host, each followed by a restart of its agent. It is refused
until every instance reports that it knows the key. The key that was active goes on
signing beside the new one until it is retired.`,
		Example: `  understudy key activate 72e16c15`,
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.keyring().CheckKnown(cmd.Context(), args[0]); err != nil {
				return err
			}
			return a.changeKeys(func(r *seal.Ring) (*seal.Ring, error) { return r.Activate(args[0]) },
				fmt.Sprintf("Key %s is active in the key file. Restart the agent, and do the same on the other hosts.", args[0]))
		},
	}
	a.addAgentFlag(cmd)
	return a.completer().command(cmd, 1, names.Names.Keys)
}

func newKeyRetire(a *app) *cobra.Command {
	return a.completer().command(&cobra.Command{
		Use:   "retire ID",
		Short: "Remove a key that is no longer active from the key file",
		Long: `Remove a key from the key file, when nothing needs it any more: the end of a
rotation, done on every host, each followed by a restart of its agent. It is refused
while the head, the configuration in force, the newest backup or an instance needs
the key. Backups from before the activation cannot be listed or restored without it:
retire it when they have expired, or at once after a leak, at the price of those
backups.`,
		Example: `  understudy key retire 5a0c11d2`,
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeKeys(func(r *seal.Ring) (*seal.Ring, error) {
				if slices.Contains(r.Keys(), seal.KeyInfo{ID: args[0], State: seal.Active}) {
					return nil, exit.Refusedf("key %s is the active one: activate another first", args[0])
				}
				next, err := r.Retire(args[0])
				if err != nil {
					return nil, err
				}
				return next, a.keyring().CheckUnneeded(cmd.Context(), args[0], next)
			}, fmt.Sprintf("Key %s is removed from the key file. Restart the agent.", args[0]))
		},
	}, 1, names.Names.Keys)
}

// keyring is the key file of this host.
func (a *app) keyring() keyring.Ring {
	return keyring.Ring{Set: a.set, Buckets: a.buckets(), Agent: a.agent}
}

// changeKeys changes the key file, and shows what is in it then.
func (a *app) changeKeys(change func(*seal.Ring) (*seal.Ring, error), done string) error {
	next, err := a.keyring().Change(change)
	if err != nil {
		return err
	}
	return a.printer().Show(keysOf(next), func(w io.Writer) { fmt.Fprintln(w, done) })
}

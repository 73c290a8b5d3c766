package main

import (
	"crypto/rand"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/backup/seal"
)

func newKey(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "The shared key of a cluster",
		Long: `All instances of a cluster share one key: it signs what they write and wraps the
keys that the data is encrypted with. Without it nothing in the bucket can be
read, so keep a copy where the hosts' fate does not reach.

To replace it: key add, carried to every host; key activate on every host, when all
know it; key retire, when nothing needs the old one any more.`,
		Args: subcommandOnly,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newKeyGenerate(a), newKeyAdd(a), newKeyActivate(a), newKeyRetire(a), newKeyShowID(a))
	return cmd
}

// generatedJSON is what `key generate --json` prints.
type generatedJSON struct {
	ID  string `json:"id"`
	Key string `json:"key"`
}

func newKeyGenerate(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "generate",
		Short: "Print a new key",
		Long: `Print a new key: one line, made to be pasted, with a checksum that finds typing
mistakes. It is kept nowhere.`,
		Example: `  (umask 077; understudy key generate > /etc/understudy/key)`,
		Args:    arguments(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			k, err := seal.Generate(rand.Reader)
			if err != nil {
				return fmt.Errorf("generate key: %w", err)
			}
			return a.printer().Show(generatedJSON{ID: k.ID(), Key: k.Line()}, func(w io.Writer) {
				fmt.Fprintln(w, k.Line())
			})
		},
	}
}

// keyJSON is one key as `key show-id --json` lists it.
type keyJSON struct {
	ID    string `json:"id"`
	State string `json:"state"`
}

func keysOf(ring *seal.Ring) []keyJSON {
	keys := []keyJSON{}
	for _, k := range ring.Keys() {
		keys = append(keys, keyJSON{ID: k.ID, State: string(k.State)})
	}
	return keys
}

func newKeyShowID(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show-id",
		Short: "Print the ids of the keys in use, newest first",
		Long: `Print the id of each key in UNDERSTUDY_KEY or the key file, newest first. An id
tells nothing about its key; compare it between hosts.`,
		Example: `  understudy key show-id --key-file /etc/understudy/key`,
		Args:    arguments(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			ring, err := a.set.Ring()
			if err != nil {
				return err
			}
			keys := keysOf(ring)
			return a.printer().Show(keys, func(w io.Writer) {
				for _, k := range keys {
					fmt.Fprintf(w, "%s %s\n", k.ID, k.State)
				}
			})
		},
	}
}

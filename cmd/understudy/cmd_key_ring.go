package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/cmd/understudy/settings"
	"github.com/understudy-ha/understudy/ha/agent"
	"github.com/understudy-ha/understudy/ha/api"
	"github.com/understudy-ha/understudy/ha/control"
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
			k, err := a.newKey(from)
			if err != nil {
				return err
			}
			return a.changeRing(func(r *seal.Ring) (*seal.Ring, error) { return r.Add(k) },
				fmt.Sprintf("Key %s is added. Carry the key file to every host and restart every agent; then: understudy key activate %s", k.ID(), k.ID()))
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "file with the key, or - for standard input (a new one is generated)")
	return cmd
}

// maxKeyText is the most bytes that are read of a key.
const maxKeyText = 64 << 10

// newKey reads a key from a file, or makes one.
func (a *app) newKey(from string) (seal.Key, error) {
	var text []byte
	var err error
	switch from {
	case "":
		k, err := seal.Generate(rand.Reader)
		if err != nil {
			return k, fmt.Errorf("generate key: %w", err)
		}
		return k, nil
	case "-":
		text, err = io.ReadAll(io.LimitReader(a.std.in, maxKeyText))
	default:
		text, err = os.ReadFile(from)
	}
	if err != nil {
		return seal.Key{}, fmt.Errorf("read the new key: %w", err)
	}
	return seal.ParseKey(string(text))
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
			if err := a.checkKeyKnown(cmd.Context(), args[0]); err != nil {
				return err
			}
			return a.changeRing(func(r *seal.Ring) (*seal.Ring, error) { return r.Activate(args[0]) },
				fmt.Sprintf("Key %s is active in the key file. Restart the agent, and do the same on the other hosts.", args[0]))
		},
	}
	a.addAgentFlag(cmd)
	return cmd
}

func newKeyRetire(a *app) *cobra.Command {
	return &cobra.Command{
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
			return a.changeRing(func(r *seal.Ring) (*seal.Ring, error) {
				if slices.Contains(r.Keys(), seal.KeyInfo{ID: args[0], State: seal.Active}) {
					return nil, exit.Refusedf("key %s is the active one: activate another first", args[0])
				}
				next, err := r.Retire(args[0])
				if err != nil {
					return nil, err
				}
				return next, a.checkKeyUnneeded(cmd.Context(), args[0], next)
			}, fmt.Sprintf("Key %s is removed from the key file. Restart the agent.", args[0]))
		},
	}
}

// changeRing changes the key file.
func (a *app) changeRing(change func(*seal.Ring) (*seal.Ring, error), done string) error {
	path := a.set.KeyFile
	if path == "" {
		return exit.Usagef("the keys are changed in a key file, and none is set: set UNDERSTUDY_KEY_FILE or --key-file (make one with: understudy key generate)")
	}
	ring, err := settings.ReadRing(path)
	if err != nil {
		return err
	}
	next, err := change(ring)
	if err != nil {
		return err
	}
	if err := writeSecretFile(path, next.File()); err != nil {
		return fmt.Errorf("write key file: %w", err)
	}
	var keys []keyJSON
	for _, k := range next.Keys() {
		keys = append(keys, keyJSON{ID: k.ID, State: string(k.State)})
	}
	return a.printer().show(keys, func(w io.Writer) { fmt.Fprintln(w, done) })
}

// writeSecretFile replaces a file, atomically and durably. It goes on to belong
// to whom it belonged to, and nobody else can read it.
func writeSecretFile(path string, text []byte) error {
	path, err := filepath.EvalSymlinks(path) // a link stays a link
	if err != nil {
		return err
	}
	owner, err := ownerOf(path)
	if err != nil {
		return err
	}
	f, err := renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)), renameio.WithStaticPermissions(0o600))
	if err != nil {
		return err
	}
	defer f.Cleanup() //nolint:errcheck // what has not been put into place is of no use
	if err := f.Chown(owner.uid, owner.gid); err != nil {
		return err
	}
	if _, err := f.Write(text); err != nil {
		return err
	}
	if err := f.CloseAtomicallyReplace(); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// checkKeyKnown refuses unless every instance reports that it knows a key.
func (a *app) checkKeyKnown(ctx context.Context, id string) error {
	known, err := a.knownKeys(ctx)
	if err != nil {
		return err
	}
	var without []string
	for name, keys := range known {
		if !slices.Contains(keys, id) {
			without = append(without, name)
		}
	}
	if len(without) > 0 {
		slices.Sort(without)
		return exit.Refusedf("key %s is not known to %s: give it to every host's key file (understudy key add) and restart the agents first", id, strings.Join(without, ", "))
	}
	return nil
}

// knownKeys tells which keys every instance knows, by the agent of this host
// or, where none runs, by the bucket.
func (a *app) knownKeys(ctx context.Context) (map[string][]string, error) {
	c, err := a.agent()
	if err != nil {
		return nil, err
	}
	known := map[string][]string{}
	var list api.Instances
	switch err := c.get(ctx, "/api/v1/instances", &list); {
	case err == nil:
		for _, i := range list.Instances {
			if i.Name != "" && i.State != agent.StateRemoved {
				known[i.Name] = i.Keys
			}
		}
		return known, nil
	case !a.instead(err):
		return nil, err
	}
	_, bucket, err := a.look(ctx)
	if err != nil {
		return nil, err
	}
	records, err := bucket.Instances(ctx)
	for _, r := range records {
		known[r.Name] = r.Keys
	}
	return known, err
}

// look opens the bucket and its cluster, without a word about this instance.
func (a *app) look(ctx context.Context) (*bucketStore, *control.Store, error) {
	return a.lookAt(ctx, time.Time{})
}

// lookAt is look, at the bucket as it was at a time unless that is zero. It says
// so where an earlier version of an object is read.
func (a *app) lookAt(ctx context.Context, at time.Time) (*bucketStore, *control.Store, error) {
	if err := a.set.NeedBucket(); err != nil {
		return nil, nil, err
	}
	ring, err := a.set.Ring()
	if err != nil {
		return nil, nil, err
	}
	store, err := openBucketAt(ctx, a.set, a.logger(), at)
	if err != nil {
		return nil, nil, err
	}
	bucket, _, err := control.Open(ctx, control.Config{Store: store, Ring: ring})
	if err == nil {
		bucket.TellRecovered(func(_ context.Context, key string, v blobstore.Version) {
			a.printer().note("%s", control.RecoveredText(key, v))
		})
		if at.IsZero() {
			a.compare(bucket)
		}
	}
	return store, bucket, err
}

// checkKeyUnneeded refuses while what is in force cannot be read without the
// key that is to be retired.
func (a *app) checkKeyUnneeded(ctx context.Context, id string, next *seal.Ring) error {
	store, _, err := a.look(ctx)
	if err != nil {
		return err
	}
	err = readWith(ctx, store, next)
	if exit.IsKeyProblem(err) {
		return exit.Refusedf("key %s is still needed: with the other key active on every host and every agent restarted, make a backup (understudy backup) and try again in a minute: %w", id, err)
	}
	return err
}

// readWith reads what a cluster cannot go on without: its id, the head, the
// configuration in force, what every instance says of itself, and the newest
// backup.
func readWith(ctx context.Context, store blobstore.Store, ring *seal.Ring) error {
	bucket, cluster, err := control.Open(ctx, control.Config{Store: store, Ring: ring})
	if err != nil {
		return err
	}
	head, err := bucket.Head(ctx)
	if err != nil {
		return err
	}
	config, err := bucket.Config(ctx, head)
	if err != nil {
		return err
	}
	if _, err := ring.Unwrap(config.DataKey, cluster.ID); err != nil {
		return fmt.Errorf("open the data keys of the configuration in force: %w", err)
	}
	if err := bucket.CheckSecrets(config); err != nil {
		return err
	}
	if _, err := bucket.Instances(ctx); err != nil {
		return err
	}
	if head.Newest == nil {
		return nil
	}
	newest, m, err := bucket.Chain().Find(ctx, "")
	if err != nil {
		return err
	}
	if _, err := ring.Unwrap(m.DataKey, cluster.ID); err != nil {
		return fmt.Errorf("open the data keys of backup %s: %w", newest.ID, err)
	}
	return nil
}

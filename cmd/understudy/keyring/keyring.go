// Package keyring changes the key file of this host, a step of a rotation at a time, and
// looks whether the cluster is ready for the step.
package keyring

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

	"github.com/google/renameio/v2"

	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/cmd/understudy/agentclient"
	"github.com/understudy-ha/understudy/cmd/understudy/buckets"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/cmd/understudy/settings"
	"github.com/understudy-ha/understudy/ha/api"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/report"
)

// Ring is the key file of this host.
type Ring struct {
	Set     *settings.Host
	Buckets buckets.Reader
	// Agent connects to the agent that is asked which keys are known.
	Agent func() (*agentclient.Client, error)
}

// maxKeyText is the most bytes that are read of a key.
const maxKeyText = 64 << 10

// New reads a key from a file, or makes one.
func (Ring) New(from string, in io.Reader) (seal.Key, error) {
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
		text, err = io.ReadAll(io.LimitReader(in, maxKeyText))
	default:
		text, err = os.ReadFile(from)
	}
	if err != nil {
		return seal.Key{}, fmt.Errorf("read the new key: %w", err)
	}
	return seal.ParseKey(string(text))
}

// Change changes the key file.
func (r Ring) Change(change func(*seal.Ring) (*seal.Ring, error)) (*seal.Ring, error) {
	path := r.Set.KeyFile
	if path == "" {
		return nil, exit.Usagef("the keys are changed in a key file, and none is set: set UNDERSTUDY_KEY_FILE or --key-file (make one with: understudy key generate)")
	}
	ring, err := settings.ReadRing(path)
	if err != nil {
		return nil, err
	}
	next, err := change(ring)
	if err != nil {
		return nil, err
	}
	if err := writeSecretFile(path, next.File()); err != nil {
		return nil, fmt.Errorf("write key file: %w", err)
	}
	return next, nil
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

// CheckKnown refuses unless every instance reports that it knows a key.
func (r Ring) CheckKnown(ctx context.Context, id string) error {
	known, err := r.knownKeys(ctx)
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
func (r Ring) knownKeys(ctx context.Context) (map[string][]string, error) {
	c, err := r.Agent()
	if err != nil {
		return nil, err
	}
	known := map[string][]string{}
	var list api.Instances
	switch err := c.Get(ctx, "/api/v1/instances", &list); {
	case err == nil:
		for _, i := range list.Instances {
			if i.Name != "" && i.State != report.StateRemoved {
				known[i.Name] = i.Keys
			}
		}
		return known, nil
	case !c.Instead(err):
		return nil, err
	}
	_, bucket, err := r.Buckets.Look(ctx)
	if err != nil {
		return nil, err
	}
	records, err := bucket.Instances(ctx)
	for _, record := range records {
		known[record.Name] = record.Keys
	}
	return known, err
}

// CheckUnneeded refuses while what is in force cannot be read without the
// key that is to be retired.
func (r Ring) CheckUnneeded(ctx context.Context, id string, next *seal.Ring) error {
	store, _, err := r.Buckets.Look(ctx)
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

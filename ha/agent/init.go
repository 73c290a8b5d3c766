package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/understudy-ha/understudy/backup/retention"
	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/account"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/datadir"
	"github.com/understudy-ha/understudy/ha/membership"
	"github.com/understudy-ha/understudy/ha/report"
	"github.com/understudy-ha/understudy/ha/shared"
)

// Init makes a cluster in an empty bucket, with this instance as its active,
// and gives its id. Format, Cluster, DataKey and, with users (whose passwords are
// hashes), Secrets of c are filled in. An init that
// was interrupted can be run again, with the same data folder. A bucket that
// has a cluster already, or other objects, is a *ha.Refusal; one that holds
// history and no head
// is ErrBucket. No agent may be running on the data folder.
func Init(ctx context.Context, cfg Config, c ha.Config, users ...account.User) (cluster string, err error) {
	cfg, err = cfg.complete()
	if err != nil {
		return "", err
	}
	if err := c.Validate(cfg.Poll); err != nil {
		return "", invalid("%w", err)
	}
	if err := cfg.refuseUnstoppable(cfg.Hooks, &ha.Head{Fencing: c.Fencing}); err != nil {
		return "", err
	}
	dir, err := datadir.Open(ctx, cfg.DataDir)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	i := initialiser{cfg: cfg, dir: dir, users: users}
	if err := i.run(ctx, c); err != nil {
		return "", fmt.Errorf("make cluster: %w", err)
	}
	return i.control.Cluster(), nil
}

type initialiser struct {
	cfg     Config
	dir     *datadir.Dir
	control *control.Store
	j       ha.Journal
	self    ha.Peer
	users   []account.User
}

func (i *initialiser) run(ctx context.Context, c ha.Config) error {
	if err := i.begin(ctx); err != nil {
		return err
	}
	if nonce := i.landed(ctx); nonce != "" {
		return i.done(nonce)
	}
	config, digest, err := i.config(ctx, c)
	if err != nil {
		return err
	}
	rec := ha.Instance{Role: ha.RoleActive, State: report.StateActive, Epoch: 1, Version: i.cfg.Version, Keys: i.cfg.Ring.IDs(), Unstoppable: i.cfg.unstoppable(i.cfg.Hooks), Time: i.cfg.Clock.Now().Wall}
	known := membership.NewRegistrar(i.control, i.self, i.j.Incarnations, i.cfg.Random)
	if err := known.Take(ctx, rec, true, false); err != nil {
		return err
	}
	nonce, err := i.writeHead(ctx, config, digest)
	if err != nil {
		return err
	}
	return i.done(nonce)
}

// begin finds out what is in the bucket, and journals and writes the cluster's
// id.
func (i *initialiser) begin(ctx context.Context) error {
	j, found, err := i.dir.LoadJournal()
	if err != nil {
		return err
	}
	if found && (j.Pending == nil || j.Pending.Token != "") {
		return &ha.Refusal{Reason: fmt.Sprintf("the data folder %s belongs to cluster %s already: leave it first (understudy leave), or use another folder", i.dir.Path(), j.Cluster)}
	}
	if err := membership.CheckStore(ctx, i.cfg.Store, i.cfg.RequestTimeout, i.cfg.Random); err != nil {
		return err
	}
	id, err := i.clusterID(ctx, j)
	if err != nil {
		return err
	}
	incarnation, err := membership.RandomHex(i.cfg.Random, 16)
	if err != nil {
		return err
	}
	i.self = ha.Peer{Name: i.cfg.Instance, URL: i.cfg.URL, Incarnation: incarnation}
	i.control = control.New(i.cfg.control(), id)
	i.j = ha.Journal{
		Format: ha.Format, Cluster: id, Instance: i.cfg.Instance, Role: ha.RoleActive, Epoch: 1,
		Incarnations: append(slices.Clone(j.Incarnations), incarnation),
		Pending:      &ha.Pending{}, First: true, Marked: 1,
	}
	if j.Pending != nil {
		i.j.Pending.Nonces = slices.Clone(j.Pending.Nonces)
	}
	if err := i.dir.SaveJournal(i.j); err != nil {
		return err
	}
	return i.writeCluster(ctx)
}

// clusterID decides which cluster is to be made: the one that an interrupted
// init began, or a new one. It refuses a bucket that has one.
func (i *initialiser) clusterID(ctx context.Context, j ha.Journal) (string, error) {
	b, _, err := control.Open(ctx, i.cfg.control())
	switch {
	case errors.Is(err, control.ErrBucket): // no cluster.json
		if err := i.refuseHistory(ctx, ha.ClusterKey); err != nil {
			return "", err
		}
		if err := i.refuseStrangers(ctx); err != nil {
			return "", err
		}
		if j.Cluster != "" {
			return j.Cluster, nil
		}
		return membership.RandomHex(i.cfg.Random, 16)
	case err != nil:
		return "", err
	case j.Cluster != "" && b.Cluster() != j.Cluster:
		return "", fmt.Errorf("%w: it holds another cluster (%s) than the one that was begun with the data folder %s (%s)", control.ErrBucket, b.Cluster(), i.dir.Path(), j.Cluster)
	}
	h, err := b.Head(ctx)
	switch {
	case err == nil && j.Pending != nil && slices.Contains(j.Pending.Nonces, h.Nonce):
		return b.Cluster(), nil // only the end of it is missing
	case err == nil:
		return "", &ha.Refusal{Reason: fmt.Sprintf("the bucket has a cluster already (its active is %s, in epoch %d): join it with: understudy join", h.Active.Name, h.Epoch)}
	case !errors.Is(err, control.ErrBucket):
		return "", err
	}
	return b.Cluster(), i.refuseHistory(ctx, ha.HeadKey)
}

// refuseHistory refuses a bucket in which there is more than an interrupted
// init can have left, though the object missing is not there.
func (i *initialiser) refuseHistory(ctx context.Context, missing string) error {
	ctx, cancel := context.WithTimeout(ctx, i.cfg.RequestTimeout)
	defer cancel()
	prefixes := append(slices.Clone(retention.Folders), control.DemoteFolder, ha.LeaseKey)
	if missing == ha.ClusterKey {
		prefixes = append(prefixes, ha.HeadKey)
	}
	for _, prefix := range prefixes {
		for attrs, err := range i.cfg.Store.List(ctx, prefix, "") {
			if err != nil {
				return fmt.Errorf("look for history: %w", err)
			}
			if !isOwn(attrs.Key) {
				continue // a name that goes on
			}
			return fmt.Errorf("%w: it has no %s, but it holds history (%s): the object was deleted, and a new cluster would lose the old one; restore the object's last version, or use another prefix",
				control.ErrBucket, missing, attrs.Key)
		}
	}
	return nil
}

// refuseStrangers refuses a bucket, or a prefix, in which somebody else's
// objects lie: a cluster's permissions and rules, and what is deleted when the
// cluster goes, are about all that is there.
func (i *initialiser) refuseStrangers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, i.cfg.RequestTimeout)
	defer cancel()
	stranger, err := i.stranger(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("look for other objects: %w", err)
	case stranger == "":
		return nil
	}
	return &ha.Refusal{Reason: fmt.Sprintf("the bucket holds other objects than a cluster's (%q): give the cluster a prefix of its own, in which nothing lies, as in s3://bucket/myapp (UNDERSTUDY_BUCKET)", stranger)}
}

// stranger names an object that no cluster has written; "" if there is none.
func (i *initialiser) stranger(ctx context.Context) (string, error) {
	for attrs, err := range i.cfg.Store.List(ctx, "", "") {
		if err != nil {
			return "", err
		}
		if !isOwn(attrs.Key) {
			return attrs.Key, nil
		}
	}
	if odd, ok := blobstore.As[blobstore.Strangers](i.cfg.Store); ok {
		return odd.Stranger(ctx)
	}
	return "", nil
}

// isOwn reports whether a cluster writes objects with this key.
func isOwn(key string) bool {
	for _, own := range slices.Concat(control.Keys, retention.Folders, []string{control.ScratchPrefix}) {
		if key == own || strings.HasSuffix(own, "/") && strings.HasPrefix(key, own) {
			return true
		}
	}
	return false
}

// writeCluster writes cluster.json, once.
func (i *initialiser) writeCluster(ctx context.Context) error {
	object := &ha.Cluster{Format: ha.Format, ID: i.control.Cluster(), Time: i.cfg.Clock.Now().Wall}
	return i.once(ctx, func() error {
		_, err := i.control.Write(ctx, ha.KindCluster, ha.ClusterKey, object, blobstore.IfAbsent())
		if !errors.Is(err, blobstore.ErrPrecondition) {
			return err
		}
		b, _, err := control.Open(ctx, i.cfg.control())
		if err == nil && b.Cluster() != i.control.Cluster() {
			err = &ha.Refusal{Reason: "another instance has just made a cluster in this bucket: join it with: understudy join"}
		}
		return err
	})
}

// once repeats a create-if-absent whose outcome is unknown.
func (i *initialiser) once(ctx context.Context, write func() error) error {
	for try := 1; ; try++ {
		err := write()
		if !errors.Is(err, blobstore.ErrUnknownOutcome) || try == 5 {
			return err
		}
		if err := wait(ctx, admitPauseMin); err != nil {
			return err
		}
	}
}

// config makes the shared configuration with new data keys, or goes on with
// the one that an interrupted init has made.
func (i *initialiser) config(ctx context.Context, c ha.Config) (*ha.Config, string, error) {
	keys, err := seal.NewDataKeys(i.cfg.Random)
	if err != nil {
		return nil, "", err
	}
	c.Format, c.Cluster = ha.Format, i.control.Cluster()
	if c.DataKey, err = i.cfg.Ring.Wrap(keys, c.Cluster, i.cfg.Random); err != nil {
		return nil, "", err
	}
	if len(i.users) > 0 {
		if c.Secrets, err = i.control.SealSecrets(control.Secrets{Users: i.users}, i.cfg.Random); err != nil {
			return nil, "", err
		}
	}
	digest, err := shared.NewConfigs(i.control, i.dir).Put(ctx, &c)
	if err != nil {
		return nil, "", err
	}
	return &c, digest, i.dir.SaveConfig(digest, &c)
}

// landed gives the nonce of the head that an interrupted init wrote, if that
// is in place.
func (i *initialiser) landed(ctx context.Context) (nonce string) {
	h, err := i.control.Head(ctx)
	if err != nil || !slices.Contains(i.j.Pending.Nonces, h.Nonce) {
		return ""
	}
	return h.Nonce
}

// writeHead writes the first head, create-if-absent, each attempt journalled
// first.
func (i *initialiser) writeHead(ctx context.Context, c *ha.Config, digest string) (nonce string, err error) {
	err = i.once(ctx, func() error {
		if nonce, err = membership.RandomHex(i.cfg.Random, 16); err != nil {
			return err
		}
		i.j.Pending.Nonces = append(i.j.Pending.Nonces, nonce)
		if err := i.dir.SaveJournal(i.j); err != nil {
			return err
		}
		head := &ha.Head{
			Format: ha.Format, Cluster: i.control.Cluster(), Epoch: 1, Rev: 1, Nonce: nonce,
			Active: i.self, Config: digest, Fencing: c.Fencing, Time: i.cfg.Clock.Now().Wall,
		}
		_, err := i.control.Write(ctx, ha.KindHead, ha.HeadKey, head, blobstore.IfAbsent())
		if !errors.Is(err, blobstore.ErrPrecondition) {
			return err
		}
		present, err := i.control.Head(ctx)
		switch {
		case err != nil:
			return err
		case slices.Contains(i.j.Pending.Nonces, present.Nonce):
			nonce = present.Nonce // an earlier attempt has landed
			return nil
		}
		return &ha.Refusal{Reason: fmt.Sprintf("%s has just become the active of this cluster: join it with: understudy join", present.Active.Name)}
	})
	return nonce, err
}

// done journals that the head is this instance's own.
func (i *initialiser) done(nonce string) error {
	i.j.Pending = nil
	i.j.Last = ha.Position{Epoch: 1, Rev: 1, Nonce: nonce}
	i.j.Seen = i.j.Last
	return i.dir.SaveJournal(i.j)
}

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/filestore"
	"github.com/understudy-ha/understudy/cmd/understudy/settings"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
)

// TestAnOlderReleaseHoldsStillBeforeANewerFormat shows an active and a standby a head as
// a later release could write it, and has a host start from a later release's journal:
// what docs/upgrading.md says of that.
func TestAnOlderReleaseHoldsStillBeforeANewerFormat(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := newCluster(t, "file://"+dir, nil)
	a, b := c.twoFolders(t, idleHooks)
	store, err := filestore.New(t.Context(), dir, filestore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	inForce := c.headOfFormat(store, ha.Format+1)
	const refused = "it has format 2, this version reads format 1"
	for _, h := range c.hosts {
		h.hasProblem(refused)
		if r := h.try("status", "--check"); r.code != 1 {
			t.Errorf("%s: status --check: exit %d", h.name, r.code)
		}
	}
	waits := a.background("backup")
	for args, code := range map[string]int{"promote --failover --host-is-off --yes": 4, "restore latest --to " + b.path("restored"): 4, "verify": 4} {
		if r := b.try(strings.Fields(args)...); r.code != code || !strings.Contains(r.errout, refused) {
			t.Errorf("%s: exit %d: %s%s", args, r.code, r.out, r.errout)
		}
	}

	if _, err := store.Put(t.Context(), ha.HeadKey, inForce, blobstore.Always); err != nil {
		t.Fatal(err)
	}
	if r := received(t, "the backup that waited", waits); r.code != 0 {
		t.Errorf("the backup that waited: exit %d: %s", r.code, r.errout)
	}
	b.caches(query[backup.Ref](a, "backup").ID)

	b.stopAgent()
	journal := filepath.Join(b.path("data"), "journal.json")
	text, err := os.ReadFile(journal)
	if err == nil {
		err = os.WriteFile(journal, bytes.Replace(text, []byte(`"format": 1`), []byte(`"format": 2`), 1), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if r := b.try("serve"); r.code != 1 || !strings.Contains(r.errout, refused) {
		t.Errorf("serve: exit %d: %s", r.code, r.errout)
	}
}

// headOfFormat writes the head in another format, signed by the cluster's key, and
// returns what there was: no instance has seen a newer one.
func (c *cluster) headOfFormat(store *filestore.Store, format int) (was []byte) {
	c.t.Helper()
	ring, err := settings.ReadRing(c.key)
	if err != nil {
		c.t.Fatal(err)
	}
	scope := seal.Scope{Type: string(ha.KindHead), Cluster: c.hosts[0].status().Cluster, Object: ha.HeadKey}
	eventually(c.t, fmt.Sprintf("the head has format %d", format), func() error {
		var is blobstore.Attrs
		if was, is, err = blobstore.ReadAll(c.t.Context(), store, ha.HeadKey, control.MaxObject); err != nil {
			return err
		}
		payload, err := ring.Verify(scope, was)
		if err != nil {
			return err
		}
		newer := bytes.Replace(payload, fmt.Appendf(nil, `"format":%d`, ha.Format), fmt.Appendf(nil, `"format":%d`, format), 1)
		if bytes.Equal(newer, payload) {
			return fmt.Errorf("it does not say its format: %s", payload)
		}
		signed, err := ring.Sign(scope, newer)
		if err != nil {
			return err
		}
		_, err = store.Put(c.t.Context(), ha.HeadKey, signed, blobstore.IfMatch(is.Token))
		return err
	})
	return was
}

package doctor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/cmd/understudy/buckets"
	"github.com/understudy-ha/understudy/ha/api"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/datadir"
	"github.com/understudy-ha/understudy/ha/report"
)

// examineBucket looks at the store, and at the cluster in it if there is a key.
func (e *Examiner) examineBucket(ctx context.Context, ring *seal.Ring) []Finding {
	store, err := buckets.Open(ctx, e.Set, slog.New(slog.DiscardHandler))
	if err != nil {
		return []Finding{is("bucket", err, "")}
	}
	found := append(e.examineStore(ctx, store), examineFolder(e.Set.Bucket)...)
	ctx, cancel := context.WithTimeout(ctx, clusterTimeout)
	defer cancel()
	var bucket *control.Store
	if ring != nil {
		var more []Finding
		bucket, more = e.examineCluster(ctx, store, ring)
		found = append(found, more...)
		if bucket != nil {
			found = append(found, e.examinePacks(ctx, bucket)...)
			found = append(found, examineStreams(ctx, store, ring, bucket)...)
		}
	}
	found = append(found, defaultLockFindings(ctx, store, bucket)...)
	return append(found, lifecycleFindings(ctx, store.Lifecycle, bucket)...)
}

// clusterTimeout bounds what is asked of the cluster's objects.
const clusterTimeout = 30 * time.Second

// examineCluster finds out whether the key fits the cluster, and whether this
// host belongs to it. The bucket is nil without a cluster that can be read.
func (e *Examiner) examineCluster(ctx context.Context, store blobstore.Store, ring *seal.Ring) (*control.Store, []Finding) {
	bucket, _, err := control.Open(ctx, control.Config{Store: store, Ring: ring})
	unanswered := (*blobstore.Error)(nil)
	switch {
	case errors.Is(err, control.ErrBucket):
		e.noCluster = true
		return nil, []Finding{{Name: "cluster", Result: Warning, Detail: "none yet: make one with understudy init"}}
	case errors.As(err, &unanswered):
		return nil, []Finding{is("cluster", err, "")}
	case err != nil:
		return nil, []Finding{is("key", err, "")}
	}
	e.Buckets.Compare(bucket)
	found := []Finding{is("key", nil, ring.String())}
	head, err := bucket.Head(ctx)
	if err != nil {
		return bucket, append(found, is("cluster", err, ""))
	}
	found = append(found, is("cluster", nil, fmt.Sprintf("%s, active %s, epoch %d", bucket.Cluster(), head.Active.Name, head.Epoch)))
	if text := e.Buckets.Older.Text(); text != "" {
		found = append(found, Finding{Name: "head", Result: Bad, Detail: text})
	}
	return bucket, append(found, examineDataDir(e.Set.DataDir, bucket.Cluster()))
}

// examinePacks looks whether the packs of the newest backup are in the bucket.
// An agent that runs here is asked to look as well: it stores again what is
// missing.
func (e *Examiner) examinePacks(ctx context.Context, bucket *control.Store) []Finding {
	const name = "packs"
	missing, of, err := bucket.Chain().MissingPacks(ctx)
	switch {
	case err != nil:
		return []Finding{is(name, fmt.Errorf("the newest backup cannot be restored whole: %w", err), "")}
	case of == 0:
		return nil
	case len(missing) == 0:
		return []Finding{is(name, nil, fmt.Sprintf("the newest backup needs %d, and all are there", of))}
	}
	detail := fmt.Sprintf("%d of the %d that the newest backup needs are missing, or cut short (%s): it cannot be restored whole from the bucket", len(missing), of, missing[0].Digest.Key())
	if c, err := e.Agent(); err == nil {
		var s report.Status
		if c.Get(ctx, "/api/v1/status", &s) == nil && s.LastBackup != nil &&
			c.Do(ctx, http.MethodPost, "/api/v1/backups/"+url.PathEscape(s.LastBackup.ID)+"/verify", nil, new(api.Verification)) == nil && s.Leading {
			detail += "; the active looks as well, and stores again what was in them"
		}
	}
	return []Finding{{Name: name, Result: Bad, Detail: detail + " (or: understudy backup --full)"}}
}

// examineDataDir finds out whether a data folder belongs to the cluster.
func examineDataDir(dir, cluster string) Finding {
	journal, err := datadir.ReadJournal(dir)
	f := is("data folder", err, dir)
	f.Where = OnHost
	switch {
	case err != nil:
	case journal == nil:
		f.Result, f.Detail = Warning, dir+" belongs to no cluster yet: understudy join"
	case journal.Cluster != cluster:
		f.Result, f.Detail = Bad, fmt.Sprintf("%s belongs to another cluster (%s)", dir, journal.Cluster)
	}
	return f
}

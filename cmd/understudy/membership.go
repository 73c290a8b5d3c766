package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/agent"
)

// readJournal reads what a data folder says of its instance; nil when it
// belongs to no cluster, which is also so while an init is unfinished.
func readJournal(dataDir string) (*ha.Journal, error) {
	text, err := os.ReadFile(filepath.Join(dataDir, "journal.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	j := &ha.Journal{}
	if err == nil {
		err = json.Unmarshal(text, j)
	}
	if err != nil {
		return nil, fmt.Errorf("read the data folder's journal: %w", err)
	}
	if j.Pending != nil && j.Pending.Token == "" {
		return nil, nil
	}
	return j, nil
}

// alreadyMember reads the journal of a data folder that is one of the bucket's
// cluster, under this instance's name, and not removed from it; nil when it is
// not.
func alreadyMember(ctx context.Context, cfg agent.Config) (*ha.Journal, error) {
	j, err := readJournal(cfg.DataDir)
	if err != nil || j == nil || j.Instance != cfg.Instance {
		return nil, err
	}
	bucket, _, err := agent.OpenBucket(ctx, cfg.Store, cfg.Ring)
	if err != nil || bucket.Cluster() != j.Cluster {
		return nil, err
	}
	record, err := readRecord(ctx, cfg, j.Cluster, ha.InstanceKey(j.Instance))
	switch {
	case errors.Is(err, blobstore.ErrNotFound) && j.Role == ha.RoleActive:
		return j, nil // it makes its record anew
	case errors.Is(err, blobstore.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case !slices.Contains(j.Incarnations, record.Incarnation):
		return nil, nil // another host has the name now
	}
	return j, nil
}

// readRecords reads what every instance of a cluster says of itself.
func readRecords(ctx context.Context, cfg agent.Config, cluster string) ([]ha.Instance, error) {
	var records []ha.Instance
	for attrs, err := range cfg.Store.List(ctx, ha.InstancesPrefix, "") {
		if err != nil {
			return nil, fmt.Errorf("list the instances: %w", err)
		}
		record, err := readRecord(ctx, cfg, cluster, attrs.Key)
		if err != nil {
			return nil, err
		}
		records = append(records, *record)
	}
	return records, nil
}

func readRecord(ctx context.Context, cfg agent.Config, cluster, key string) (*ha.Instance, error) {
	object, err := readObject(ctx, cfg, cluster, ha.KindInstance, key)
	if err != nil {
		return nil, err
	}
	return object.(*ha.Instance), nil
}

// maxObject is the most bytes that a control object may have.
const maxObject = 1 << 20

// readObject reads and verifies a control object.
func readObject(ctx context.Context, cfg agent.Config, cluster string, kind ha.Kind, key string) (any, error) {
	signed, _, err := blobstore.ReadAll(ctx, cfg.Store, key, maxObject)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	payload, err := cfg.Ring.Verify(seal.Scope{Type: string(kind), Cluster: cluster, Object: key}, signed)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	object, err := ha.Decode(kind, payload)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return object, nil
}

package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/stream"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
)

// examineStreams looks whether the log that no backup holds yet is in the bucket.
func examineStreams(ctx context.Context, store blobstore.Store, ring *seal.Ring, bucket *control.Store) []Finding {
	const name = "streams"
	head, err := bucket.Head(ctx)
	if err != nil || len(head.Streams) == 0 {
		return nil // what is wrong with the head is said already
	}
	chain, err := stream.Open(stream.Config{Store: store, Ring: ring, Cluster: bucket.Cluster(), Now: time.Now})
	if err != nil {
		return []Finding{is(name, err, "")}
	}
	backedUp := make(map[string]stream.Position)
	if head.Newest != nil {
		m, err := bucket.Chain().Manifest(ctx, *head.Newest)
		if err != nil {
			return []Finding{is(name, fmt.Errorf("up to where the newest backup holds the logs is not known: %w", err), "")}
		}
		for _, entry := range m.Sources {
			if at, ok := source.LogPosition(entry); ok {
				backedUp[entry.Name] = at
			}
		}
	}
	return streamFindings(ctx, chain, head.Streams, backedUp)
}

// streamFindings looks at each stream from where the newest backup ends.
func streamFindings(ctx context.Context, chain *stream.Chain, streams map[string]ha.Stream, backedUp map[string]stream.Position) (found []Finding) {
	for _, name := range slices.Sorted(maps.Keys(streams)) {
		s := streams[name]
		if s.Unbased {
			found = append(found, Finding{Name: "streams", Result: Warning, Detail: fmt.Sprintf("%s: no backup leads up to stream %s yet, so that a failover would lose what came after the newest backup", name, s.ID)})
			continue
		}
		parts, err := countParts(ctx, chain, name, s, backedUp[name])
		detail := fmt.Sprintf("%s: parts of its log that no backup holds yet: %d, and all are there", name, parts)
		if !s.Tip.Time.IsZero() {
			detail += ", up to " + s.Tip.Time.UTC().Format(time.DateTime) + " UTC"
		}
		found = append(found, is("streams", err, detail))
	}
	return found
}

// countParts counts the parts from a position on, in the streams that lead up to the one
// in force as well.
func countParts(ctx context.Context, chain *stream.Chain, name string, s ha.Stream, at stream.Position) (parts int, err error) {
	path := append(slices.Clone(s.Before), s)
	for i, one := range path {
		if i+1 < len(path) && path[i+1].From <= at {
			continue // the backup has all that counts of it
		}
		n, err := chain.Check(ctx, name, one.ID, max(at, one.From), one.Tip)
		if err != nil {
			return 0, err
		}
		parts += n
	}
	return parts, nil
}

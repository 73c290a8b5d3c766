// Package backup writes and reads backups: restorable points, each a signed
// manifest plus the packs that it refers to. It knows no roles: it does not
// know who is active, and a backup that it has written exists only once a head
// (package ha) names it.
package backup

import (
	"context"
	"encoding/json"
	"io"
	"iter"
	"time"

	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/blobstore"
)

// Trigger says why a backup was made.
type Trigger string

// Triggers.
const (
	Scheduled  Trigger = "schedule"
	Requested  Trigger = "request"
	Task       Trigger = "task"
	Switchover Trigger = "switchover"
	Salvage    Trigger = "salvage"
	First      Trigger = "first"
)

// Ref names one backup and pins its manifest: the digest is that of the signed
// object's bytes (SHA-256, hex).
type Ref struct {
	ID       string    `json:"id"`
	Epoch    uint64    `json:"epoch"`
	Sequence uint64    `json:"sequence"`
	Key      string    `json:"key"`
	Digest   string    `json:"digest"`
	Time     time.Time `json:"time"` // for people
}

// Manifest is a backup's signed root. It stays under 64 KiB whatever the
// size of the state.
type Manifest struct {
	Format     int            `json:"format"`
	Cluster    string         `json:"cluster"`
	ID         string         `json:"id"`
	Epoch      uint64         `json:"epoch"`
	Sequence   uint64         `json:"sequence"`
	Time       time.Time      `json:"time"` // when the snapshot began, UTC
	Previous   *Ref           `json:"previous,omitempty"`
	DataKey    string         `json:"data_key"` // wrapped
	Instance   string         `json:"instance"`
	Trigger    Trigger        `json:"trigger"`
	Reason     string         `json:"reason,omitempty"`
	AppVersion string         `json:"application_version,omitempty"`
	Version    string         `json:"agent_version"`
	Duration   float64        `json:"duration_seconds"`
	Size       Size           `json:"size"`
	Index      pack.IndexRef  `json:"index"`
	NewPacks   []string       `json:"new_packs,omitempty"` // where the list is short
	Sources    []source.Entry `json:"sources"`
	Changed    bool           `json:"changed"` // whether any source differs from the previous backup
}

// Size counts bytes.
type Size struct {
	Logical int64 `json:"logical"`
	New     int64 `json:"new"`
	Stored  int64 `json:"stored"`
}

// Repository is one cluster's backups in one bucket.
type Repository struct {
	Store   blobstore.Store
	Ring    *seal.Ring
	Cluster string
}

// Order is what a backup is to be.
type Order struct {
	Epoch      uint64
	Sequence   uint64
	Previous   *Ref // nil for the first of a cluster
	Trigger    Trigger
	Reason     string
	Instance   string
	AppVersion string
	Version    string
	Salvage    bool // written under salvage/ instead of backups/
	// FirstInEpoch makes the writer check the packs that it reuses with a HEAD
	// each, instead of trusting the times in the index.
	FirstInEpoch bool
	Retention    time.Duration
	ReuseWindow  time.Duration
	Keys         seal.DataKeys
	Sources      []source.Source
	// Before and After are the quiesce hooks around the snapshot; After also
	// runs when the snapshot failed. Either may be nil.
	Before, After func(context.Context) error
	// Local, when set, is where packs are looked for before the bucket, and
	// where new metadata packs are put as well.
	Local    LocalPacks
	Now      func() time.Time
	Random   io.Reader
	Progress func(Progress)
}

// LocalPacks is a local folder of packs.
type LocalPacks interface {
	pack.Packs
	PutPack(ctx context.Context, d pack.Digest, data []byte) error
}

// Progress is how far a long piece of work has come.
type Progress struct {
	Step  string // "postgres db", "fetch packs", …
	Done  int64  // bytes
	Total int64  // bytes; 0 when not known
}

// Write makes a backup: packs first, then the manifest (create-if-absent). The
// backup does not exist until a head names it.
func (r *Repository) Write(ctx context.Context, o Order) (Ref, *Manifest, error) { panic("skeleton") }

// Load reads and verifies the manifest that ref pins.
func (r *Repository) Load(ctx context.Context, ref Ref) (*Manifest, error) { panic("skeleton") }

// Decode verifies a manifest's bytes, as they stand in a bucket or a cache.
func (r *Repository) Decode(ref Ref, signed []byte) (*Manifest, error) { panic("skeleton") }

// Chain yields the backups from tip backwards along Previous, newest first,
// each verified against the digest in its successor.
func (r *Repository) Chain(ctx context.Context, tip Ref) iter.Seq2[Ref, *Manifest] { panic("skeleton") }

// Open prepares a backup for reading: its data keys, its index, its streams.
// packs is where its packs are read.
func (r *Repository) Open(ctx context.Context, m *Manifest, packs pack.Packs) (*pack.Reader, *pack.Index, error) {
	panic("skeleton")
}

// BucketPacks reads packs from the bucket.
func (r *Repository) BucketPacks() pack.Packs { panic("skeleton") }

var _ = json.RawMessage(nil)

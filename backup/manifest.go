package backup

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/backup/source"
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

// Format is the version of the on-bucket format that this package writes, and
// the only one that it reads.
const Format = 1

// MaxManifestSize is the most that a signed manifest may measure, in bytes.
const MaxManifestSize = 64 << 10

// manifestType is the type in the signature of a manifest.
const manifestType = "manifest"

// Errors of manifests. Test with errors.Is.
var (
	// ErrTampered: a manifest is not the one that the chain pins.
	ErrTampered = errors.New("not the backup that was published")
	// ErrFormat: a manifest is of a format that this version does not know.
	ErrFormat = errors.New("unknown format")
)

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
	By         string         `json:"by,omitempty"` // who asked for it
	Reason     string         `json:"reason,omitempty"`
	AppVersion string         `json:"application_version,omitempty"`
	Version    string         `json:"agent_version"`
	Duration   float64        `json:"duration_seconds"`
	Size       Size           `json:"size"`
	Index      pack.IndexRef  `json:"index"`
	NewPacks   []string       `json:"new_packs,omitempty"` // where the list is short
	Sources    []source.Entry `json:"sources"`
	Changed    bool           `json:"changed"` // whether any source differs from the previous backup
	// OldestPack is when the oldest pack that it refers to was stored, in the
	// manifest that Write returns; zero where there is none.
	OldestPack time.Time `json:"-"`
	// Warnings are for people: the hook after the snapshot failed, or the backup
	// before is damaged.
	Warnings []string `json:"warnings,omitempty"`
}

// Size counts bytes.
type Size struct {
	Logical int64 `json:"logical"` // of the state
	New     int64 `json:"new"`     // of it, in chunks that no earlier backup had
	Stored  int64 `json:"stored"`  // of the packs that were written
}

// encode signs the manifest of ref, and completes ref with its digest.
func (r *Repository) encode(ref Ref, m *Manifest) (Ref, []byte, error) {
	payload, err := json.Marshal(m)
	if err != nil {
		return Ref{}, nil, fmt.Errorf("encode manifest %s: %w", ref.Key, err)
	}
	signed, err := r.Ring.Sign(r.scope(ref), payload)
	if err != nil {
		return Ref{}, nil, err
	}
	if len(signed) > MaxManifestSize {
		return Ref{}, nil, fmt.Errorf("encode manifest %s: %d bytes, more than %d: "+
			"put several directories or databases into one source, because every source takes room there",
			ref.Key, len(signed), MaxManifestSize)
	}
	ref.Digest = digestOf(signed)
	return ref, signed, nil
}

func (r *Repository) scope(ref Ref) seal.Scope {
	return seal.Scope{Type: manifestType, Cluster: r.Cluster, Object: ref.Key}
}

func digestOf(signed []byte) string {
	sum := sha256.Sum256(signed)
	return hex.EncodeToString(sum[:])
}

// Decode verifies a manifest's bytes, as they stand in a bucket or a cache:
// the digest that ref pins, the signature, and that cluster, id, epoch and
// sequence are those of ref. It fails with ErrTampered, ErrFormat, or an error
// kind of package seal.
func (r *Repository) Decode(ref Ref, signed []byte) (*Manifest, error) {
	m, err := r.decode(ref, signed)
	if err != nil {
		return nil, fmt.Errorf("verify manifest %s: %w", ref.Key, err)
	}
	return m, nil
}

func (r *Repository) decode(ref Ref, signed []byte) (*Manifest, error) {
	if err := ref.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTampered, err)
	}
	if digest := digestOf(signed); digest != ref.Digest {
		return nil, fmt.Errorf("%w: its digest is %s, and should be %s: "+
			"the object was damaged or changed; restore another backup", ErrTampered, digest, ref.Digest)
	}
	payload, err := r.Ring.Verify(r.scope(ref), signed)
	if err != nil {
		return nil, err
	}
	m := new(Manifest)
	if err := json.Unmarshal(payload, m); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if m.Format != Format {
		return nil, fmt.Errorf("%w: it has format %d, this version reads format %d: "+
			"use the version of understudy that wrote it", ErrFormat, m.Format, Format)
	}
	return m, m.agrees(r.Cluster, ref)
}

// agrees checks that the manifest is the one that ref names.
func (m *Manifest) agrees(cluster string, ref Ref) error {
	switch {
	case m.Cluster != cluster:
		return fmt.Errorf("%w: it is of cluster %s, not %s", ErrTampered, m.Cluster, cluster)
	case m.ID != ref.ID || m.Epoch != ref.Epoch || m.Sequence != ref.Sequence:
		return fmt.Errorf("%w: it is backup %s (epoch %d, sequence %d), not %s (epoch %d, sequence %d)",
			ErrTampered, m.ID, m.Epoch, m.Sequence, ref.ID, ref.Epoch, ref.Sequence)
	case m.Previous != nil && !m.Previous.precedes(m.Epoch, m.Sequence):
		return fmt.Errorf("%w: its predecessor %s is not older", ErrTampered, m.Previous.ID)
	}
	return nil
}

package backup

import (
	"encoding/hex"
	"fmt"
	"io"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/backup/retention"
)

// Ref names one backup and pins its manifest: the digest is that of the signed
// object's bytes (SHA-256, hex).
type Ref struct {
	ID       string    `json:"id"` // the base name of Key, without ".json"
	Epoch    uint64    `json:"epoch"`
	Sequence uint64    `json:"sequence"`
	Key      string    `json:"key"`
	Digest   string    `json:"digest"`
	Time     time.Time `json:"time"` // for people
}

const keySuffix = ".json"

// newRef names a new backup. The digest is added when the manifest is signed.
func newRef(o Order, t time.Time) (Ref, error) {
	var random [4]byte
	if _, err := io.ReadFull(o.Random, random[:]); err != nil {
		return Ref{}, fmt.Errorf("make the name of a backup: %w", err)
	}
	folder := retention.Backups
	if o.Salvage {
		folder = retention.Salvage
	}
	id := fmt.Sprintf("%s-e%08d-s%08d-%s", t.Format("20060102T150405Z"), o.Epoch, o.Sequence, hex.EncodeToString(random[:]))
	return Ref{
		ID: id, Epoch: o.Epoch, Sequence: o.Sequence,
		Key:  folder + t.Format(time.DateOnly) + "/" + id + keySuffix,
		Time: t,
	}, nil
}

// idForm is how ids of backups look, those of salvage backups too.
var idForm = regexp.MustCompile(`^(\d{8}T\d{6}Z)-e(\d{1,18})-s(\d{1,18})-[0-9a-z]+$`)

// ParseID reads what a backup's id says: when it was made, its epoch and its
// sequence. The key of the Ref is that of a backup, not of a salvage backup (see
// Ref.Salvaged), and its digest is not known.
func ParseID(id string) (Ref, error) {
	part := idForm.FindStringSubmatch(id)
	if part == nil {
		return Ref{}, fmt.Errorf("%q is no backup's id", id)
	}
	t, err := time.Parse("20060102T150405Z", part[1])
	if err != nil {
		return Ref{}, fmt.Errorf("%q is no backup's id: %w", id, err)
	}
	ref := Ref{ID: id, Time: t, Key: retention.Backups + t.Format(time.DateOnly) + "/" + id + keySuffix}
	ref.Epoch, _ = strconv.ParseUint(part[2], 10, 64) // digits that fit, as the pattern says
	ref.Sequence, _ = strconv.ParseUint(part[3], 10, 64)
	return ref, nil
}

// ParseKey is ParseID for the key of a manifest.
func ParseKey(key string) (Ref, error) {
	ref, err := ParseID(strings.TrimSuffix(path.Base(key), keySuffix))
	if err != nil {
		return Ref{}, err
	}
	for _, as := range []Ref{ref, ref.Salvaged()} {
		if as.Key == key {
			return as, nil
		}
	}
	return Ref{}, fmt.Errorf("%q is not where a backup's manifest lies", key)
}

// KeyAt sorts after the keys of all backups that were made before t, and before those
// of all others.
func KeyAt(t time.Time) string {
	t = t.UTC()
	return retention.Backups + t.Format(time.DateOnly) + "/" + t.Format("20060102T150405Z")
}

// Salvaged is the same name for a salvage backup.
func (r Ref) Salvaged() Ref {
	r.Key = retention.Salvage + strings.TrimPrefix(r.Key, retention.Backups)
	return r
}

// IsSalvage reports whether the backup is a salvage backup.
func (r Ref) IsSalvage() bool { return strings.HasPrefix(r.Key, retention.Salvage) }

// check refuses a reference whose parts do not fit each other.
func (r Ref) check() error {
	if r.Key == "" || r.ID != strings.TrimSuffix(path.Base(r.Key), keySuffix) {
		return fmt.Errorf("backup %s: its key is %q", r.ID, r.Key)
	}
	if len(r.Digest) != 64 {
		return fmt.Errorf("backup %s: its digest is %q", r.ID, r.Digest)
	}
	return nil
}

// precedes reports whether a backup may be the predecessor of one with this
// epoch and sequence: epochs never fall along a chain, sequences always grow,
// also across epochs.
func (r Ref) precedes(epoch, sequence uint64) bool {
	return r.Epoch <= epoch && r.Sequence < sequence
}

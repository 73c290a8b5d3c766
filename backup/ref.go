package backup

import (
	"encoding/hex"
	"fmt"
	"io"
	"path"
	"strings"
	"time"
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

// Folders of manifests in the bucket.
const (
	backupsFolder = "backups/"
	salvageFolder = "salvage/"
)

const keySuffix = ".json"

// newRef names a new backup. The digest is added when the manifest is signed.
func newRef(o Order, t time.Time) (Ref, error) {
	var random [4]byte
	if _, err := io.ReadFull(o.Random, random[:]); err != nil {
		return Ref{}, fmt.Errorf("make the name of a backup: %w", err)
	}
	folder := backupsFolder
	if o.Salvage {
		folder = salvageFolder
	}
	id := fmt.Sprintf("%s-e%08d-s%08d-%s", t.Format("20060102T150405Z"), o.Epoch, o.Sequence, hex.EncodeToString(random[:]))
	return Ref{
		ID: id, Epoch: o.Epoch, Sequence: o.Sequence,
		Key:  folder + t.Format(time.DateOnly) + "/" + id + keySuffix,
		Time: t,
	}, nil
}

// IsSalvage reports whether the backup is a salvage backup.
func (r Ref) IsSalvage() bool { return strings.HasPrefix(r.Key, salvageFolder) }

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

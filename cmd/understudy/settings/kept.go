package settings

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"github.com/understudy-ha/understudy/backup/seal"
)

// Kept is what was entered at the set-up, in the data folder. Flags and
// variables come before it.
type Kept struct {
	Bucket   string `json:"bucket,omitempty"`
	Instance string `json:"instance,omitempty"`
	URL      string `json:"url,omitempty"`
	KeyFile  string `json:"key_file,omitempty"`
}

// Files in the data folder with what was entered.
const (
	keptFile = "settings.json"
	keptKey  = "key"
)

// recall takes what is not set from the data folder. A folder that is not this
// user's to read has nothing to tell.
func (h *Host) recall() error {
	path := filepath.Join(h.DataDir, keptFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	var kept Kept
	if err == nil {
		read := json.NewDecoder(bytes.NewReader(text))
		read.DisallowUnknownFields()
		err = read.Decode(&kept)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	for _, v := range []struct {
		unset bool
		value string
		set   func(*Host, string) error
	}{
		{h.Bucket == "", kept.Bucket, (*Host).SetBucket},
		{h.Instance == "", kept.Instance, (*Host).SetInstance},
		{h.URL == "", kept.URL, (*Host).SetURL},
		{h.Key == "" && h.KeyFile == "", kept.KeyFile, setPath(func(h *Host) *string { return &h.KeyFile })},
	} {
		if !v.unset || v.value == "" {
			continue
		}
		if err := v.set(h, v.value); err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
	}
	return nil
}

// Kept is what of the settings has to be kept: what no flag or variable gives.
// before are the settings as they were before anything was entered.
func (h *Host) Kept(before *Host) Kept {
	var kept Kept
	for name, v := range map[string]struct {
		field *string
		value string
	}{
		"bucket": {&kept.Bucket, h.Bucket}, "instance": {&kept.Instance, h.Instance}, "url": {&kept.URL, h.URL},
	} {
		if !h.given[name] {
			*v.field = v.value
		}
	}
	switch {
	case h.given["key"]:
	case h.Key == "": // of an earlier attempt, or of a file that is given
		if !h.given["key-file"] {
			kept.KeyFile = h.KeyFile
		}
	case before.KeyFile != "":
		kept.KeyFile = before.KeyFile
	default:
		kept.KeyFile = filepath.Join(h.DataDir, keptKey)
	}
	return kept
}

// Forgets returns what takes back what Keep is going to write; a key that is there
// already stays.
func (k Kept) Forgets(dataDir string) func() error {
	paths := []string{filepath.Join(dataDir, keptFile)}
	if _, err := os.Lstat(k.KeyFile); k.KeyFile != "" && errors.Is(err, fs.ErrNotExist) {
		paths = append(paths, k.KeyFile)
	}
	return func() error {
		var errs []error
		for _, path := range paths {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
		return errors.Join(errs...)
	}
}

// Keep writes what was entered: the key first, so that settings never name a
// key that is not there.
func (k Kept) Keep(dataDir string, ring *seal.Ring) error {
	if k.KeyFile != "" {
		if err := keepFile(k.KeyFile, ring.File()); err != nil {
			return fmt.Errorf("keep the key: %w", err)
		}
	}
	text, err := json.MarshalIndent(k, "", "  ")
	if err == nil {
		err = keepFile(filepath.Join(dataDir, keptFile), append(text, '\n'))
	}
	if err != nil {
		return fmt.Errorf("keep what was entered: %w", err)
	}
	return nil
}

// keepFile replaces a file, atomically and durably; nobody else can read it.
func keepFile(path string, text []byte) error {
	dir := filepath.Dir(path)
	if err := renameio.WriteFile(path, text, 0o600, renameio.WithTempDir(dir)); err != nil {
		return err
	}
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

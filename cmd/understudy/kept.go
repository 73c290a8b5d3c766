package main

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

// keptSettings is what was entered at the set-up, in the data folder. Flags and
// variables come before it.
type keptSettings struct {
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
func (s *settings) recall() error {
	path := filepath.Join(s.DataDir, keptFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	var kept keptSettings
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
		set   func(*settings, string) error
	}{
		{s.Bucket == "", kept.Bucket, setBucket},
		{s.Instance == "", kept.Instance, setInstance},
		{s.URL == "", kept.URL, setURL},
		{s.Key == "" && s.KeyFile == "", kept.KeyFile, setPath(func(s *settings) *string { return &s.KeyFile })},
	} {
		if !v.unset || v.value == "" {
			continue
		}
		if err := v.set(s, v.value); err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
	}
	return nil
}

// keep writes what was entered: the key first, so that settings never name a
// key that is not there.
func (k keptSettings) keep(dataDir string, ring *seal.Ring) error {
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

package sample

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// uploads is the folder with a file for each row. Files are spread over a
// hundred sub-folders, as applications do.
type uploads string

func (u uploads) path(serial int64) string {
	return filepath.Join(string(u), fmt.Sprintf("%02d", serial%100), fmt.Sprintf("%d.bin", serial))
}

// put writes a row's file durably, replacing any that is there.
func (u uploads) put(r row) error {
	path := u.path(r.serial)
	if err := makeDurable(filepath.Dir(path)); err != nil {
		return err
	}
	// Beside the file: what a crash leaves belongs to the folder, not to /tmp.
	if err := renameio.WriteFile(path, r.payload, 0o644, renameio.WithTempDir(filepath.Dir(path))); err != nil {
		return fmt.Errorf("write upload: %w", err)
	}
	return syncFolder(filepath.Dir(path))
}

// makeDurable makes a folder and all above it that are missing.
func makeDurable(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	parent := filepath.Dir(dir)
	if err := makeDurable(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !os.IsExist(err) {
		return fmt.Errorf("make upload folder: %w", err)
	}
	return syncFolder(parent)
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	return nil
}

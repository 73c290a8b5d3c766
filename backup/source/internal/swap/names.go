// Package swap is what kinds share of staging and swapping: the names beside a target,
// what is set aside there, the fingerprint of a stage, an export, the check of what could keep a
// target from being swapped, and the whole swap of a single file.
package swap

import (
	"errors"
	"path/filepath"
)

// Beside is the name of a helper of a file or folder, in the same folder.
func Beside(name, suffix string) string { return "." + name + ".understudy-" + suffix }

// Besides is the path of such a helper.
func Besides(path, suffix string) string {
	return filepath.Join(filepath.Dir(path), Beside(filepath.Base(path), suffix))
}

// ErrNothingStaged is the answer to a swap without a stage.
var ErrNothingStaged = errors.New("nothing is staged")

// NoFault is the fault of sources that no test stops.
func NoFault(string) error { return nil }

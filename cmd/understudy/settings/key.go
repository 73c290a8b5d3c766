package settings

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
)

// errNoKey is the wish for a key where none is set.
var errNoKey = errors.New("no key is set; set UNDERSTUDY_KEY, or UNDERSTUDY_KEY_FILE to a file with it (make one with: understudy key generate)")

// Ring reads the key ring from the environment or the key file.
func (h *Host) Ring() (*seal.Ring, error) {
	switch {
	case h.Key != "":
		k, err := seal.ParseKey(string(h.Key))
		if err != nil {
			return nil, fmt.Errorf("read UNDERSTUDY_KEY: %w", err)
		}
		return seal.NewRing(k)
	case h.KeyFile != "":
		return ReadRing(h.KeyFile)
	default:
		return nil, exit.With(exit.ErrBucket, errNoKey)
	}
}

// HasKey reports whether there is a key. A key file that is not there is none.
func (h *Host) HasKey() bool {
	if h.Key != "" {
		return true
	}
	if h.KeyFile == "" {
		return false
	}
	_, err := os.Stat(h.KeyFile)
	return !errors.Is(err, fs.ErrNotExist)
}

// ReadRing reads a key file.
func ReadRing(path string) (*seal.Ring, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, exit.With(exit.ErrBucket, fmt.Errorf("open key file: %w", err))
	}
	defer f.Close()
	ring, err := seal.ParseRing(f)
	if err != nil {
		return nil, exit.With(exit.ErrBucket, fmt.Errorf("%s: %w", path, err))
	}
	return ring, nil
}

// checkPrivate says when others on this host can read a file of secrets; ""
// when they cannot, or there is no such file.
func checkPrivate(path string) string {
	if path == "" {
		return ""
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o077 == 0 {
		return ""
	}
	return fmt.Sprintf("%s can be read by others on this host (mode %#o): chmod 600 %s", path, info.Mode().Perm(), path)
}

// Token reads the admin token; "" where none is set.
func (h *Host) Token() (Secret, error) {
	if h.AdminTokenFile == "" {
		return h.AdminToken, nil
	}
	text, err := os.ReadFile(h.AdminTokenFile)
	if err != nil {
		return "", exit.Usagef("read admin token: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return "", exit.Usagef("admin token file %s is empty", h.AdminTokenFile)
	}
	return Secret(token), nil
}

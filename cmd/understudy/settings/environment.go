package settings

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/understudy-ha/understudy/cmd/understudy/exit"
)

// EnvironmentPath is the file from which systemd gives the service its variables, and
// from which a command takes those that nothing else sets.
const EnvironmentPath = "/etc/understudy/environment"

// noEnvironment is the word for no such file.
const noEnvironment = "none"

// maxEnvironment is how much of the file is read, in bytes.
const maxEnvironment = 1 << 20

// Environment is what a file sets, as systemd's EnvironmentFile= does.
type Environment struct {
	Path string
	// Unreadable says that there is a file that this user may not read.
	Unreadable bool

	set     map[string]Assignment
	exposed bool // others on this host can read it
}

// FindEnvironment reads the file that the flag or its variable names or, where neither
// does, the one at fallback, if there is one. "none" and "" name no file. A file that
// others than root and this user can change is refused: what is in it decides
// which bucket and which key this program trusts.
func FindEnvironment(f *pflag.FlagSet, lookup Lookup, fallback string) (*Environment, error) {
	path, named := fallback, false
	if text, ok := lookup(envPrefix + "ENVIRONMENT_FILE"); ok {
		path, named = text, true
	}
	if flag := f.Lookup("environment-file"); flag != nil && flag.Changed {
		path, named = flag.Value.String(), true
	}
	if path == "" || path == noEnvironment {
		return &Environment{}, nil
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, exit.Usagef("find the environment file: %w", err)
	}
	e, err := readEnvironment(path)
	switch {
	case !named && errors.Is(err, fs.ErrNotExist):
		return &Environment{}, nil
	case !named && errors.Is(err, fs.ErrPermission):
		return &Environment{Path: path, Unreadable: true}, nil
	case errors.Is(err, fs.ErrPermission):
		return nil, exit.Usagef("%w: run with sudo", err)
	case err != nil:
		return nil, exit.With(exit.ErrUsage, err)
	}
	return e, nil
}

func readEnvironment(path string) (*Environment, error) {
	// Whatever is there is not waited for: a FIFO has no writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("read the environment file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read the environment file: %w", err)
	}
	if problem := changeable(path, info); problem != "" {
		return nil, errors.New(problem)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxEnvironment+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the environment file: %w", err)
	case len(text) > maxEnvironment:
		return nil, fmt.Errorf("the environment file %s has more than %d bytes", path, maxEnvironment)
	}
	e := &Environment{Path: path, set: map[string]Assignment{}, exposed: info.Mode().Perm()&0o044 != 0}
	for _, a := range ParseEnvironment(string(text)) {
		e.set[a.Name] = a // of two the last counts
	}
	return e, nil
}

// changeable says why a file is not this user's or root's alone to change; "" when it is.
func changeable(path string, info fs.FileInfo) string {
	if !info.Mode().IsRegular() {
		return fmt.Sprintf("the environment file %s is no file", path)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if ok && owner.Uid != 0 && int(owner.Uid) != os.Geteuid() {
		return fmt.Sprintf("the environment file %s belongs to user %d, who could have it name another bucket and another key: chown root %s", path, owner.Uid, path)
	}
	if mode := info.Mode().Perm(); mode&0o002 != 0 || mode&0o020 != 0 && (!ok || owner.Gid != 0) {
		return fmt.Sprintf("the environment file %s can be changed by others on this host (mode %#o), who could have it name another bucket and another key: chmod 600 %s", path, mode, path)
	}
	return ""
}

// Assignments are what the file sets.
func (e *Environment) Assignments() map[string]Assignment { return e.set }

// lookup returns what the file sets a variable to, and where that stands.
func (e *Environment) lookup(name string) (value, from string, ok bool) {
	if e == nil {
		return "", "", false
	}
	a, ok := e.set[name]
	return a.Value, fmt.Sprintf("%s, line %d: %s", e.Path, a.Line, name), ok && a.Value != ""
}

// problem says when others on this host can read a secret in the file; "" otherwise.
func (e *Environment) problem() string {
	if e == nil || !e.exposed {
		return ""
	}
	for name := range e.set {
		if isSecret(name) {
			return fmt.Sprintf("%s holds a secret (%s), and can be read by others on this host: chmod 600 %s", e.Path, name, e.Path)
		}
	}
	return ""
}

// isSecret reports whether a variable is by its name a secret.
func isSecret(name string) bool {
	if name == envPrefix+"KEY" || name == envPrefix+"ADMIN_TOKEN" {
		return true
	}
	if strings.HasPrefix(name, envPrefix) {
		return false
	}
	for _, part := range []string{"SECRET", "PASSWORD", "TOKEN", "STORAGE_KEY"} {
		if strings.Contains(name, part) && !strings.HasSuffix(name, "_FILE") {
			return true
		}
	}
	return false
}

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/cmd/understudy/settings"
)

// findEnvironment reads the file with the variables of this host's service. What systemd
// itself has started has been given its variables already: those of another unit, for
// another instance, are not its own.
func (a *app) findEnvironment(f *pflag.FlagSet) (*settings.Environment, error) {
	fallback := a.environment
	if pid, ok := a.lookup("SYSTEMD_EXEC_PID"); ok && pid == strconv.Itoa(os.Getpid()) {
		fallback = ""
	}
	file, err := settings.FindEnvironment(f, a.lookup, fallback)
	if err != nil {
		return nil, err
	}
	if file.Unreadable {
		a.unreadable = file.Path
	}
	if a.setenv == nil {
		return file, nil
	}
	for name, set := range file.Assignments() {
		// Credentials of the bucket and the like are read by others from the environment.
		// UNDERSTUDY_INHERIT is read where programs are started.
		if _, is := a.lookup(name); is || strings.HasPrefix(name, "UNDERSTUDY_") && name != "UNDERSTUDY_INHERIT" {
			continue
		}
		if err := a.setenv(name, set.Value); err != nil {
			return nil, exit.Usagef("%s, line %d: set %s: %w", file.Path, set.Line, name, err)
		}
	}
	return file, nil
}

// withSudo adds to why a command failed that this user may not read the settings of this
// host's service, which may be all that is missing.
func (a *app) withSudo(err error) error {
	if a.unreadable == "" {
		return err
	}
	return fmt.Errorf("%w; this user may not read %s, where this host's settings are: run with sudo", err, a.unreadable)
}

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

// surroundings are what the program runs in: variables, and the file with those of this
// host's service.
type surroundings struct {
	lookup settings.Lookup
	// environment is the file; "": none.
	environment string
	// setenv takes over what the file sets and is no setting; nil: nothing does.
	setenv     func(name, value string) error
	unreadable string // the file, where this user may not read it
}

// find reads the file with the variables of this host's service. What systemd
// itself has started has been given its variables already: those of another unit, for
// another instance, are not its own.
func (s *surroundings) find(f *pflag.FlagSet) (*settings.Environment, error) {
	fallback := s.environment
	if pid, ok := s.lookup("SYSTEMD_EXEC_PID"); ok && pid == strconv.Itoa(os.Getpid()) {
		fallback = ""
	}
	file, err := settings.FindEnvironment(f, s.lookup, fallback)
	if err != nil {
		return nil, err
	}
	if file.Unreadable {
		s.unreadable = file.Path
	}
	if s.setenv == nil {
		return file, nil
	}
	for name, set := range file.Assignments() {
		// Credentials of the bucket and the like are read by others from the environment.
		// UNDERSTUDY_INHERIT is read where programs are started.
		if _, is := s.lookup(name); is || strings.HasPrefix(name, "UNDERSTUDY_") && name != "UNDERSTUDY_INHERIT" {
			continue
		}
		if err := s.setenv(name, set.Value); err != nil {
			return nil, exit.Usagef("%s, line %d: set %s: %w", file.Path, set.Line, name, err)
		}
	}
	return file, nil
}

// withSudo adds to why a command failed that this user may not read the settings of this
// host's service, which may be all that is missing.
func (s *surroundings) withSudo(err error) error {
	if s.unreadable == "" {
		return err
	}
	return fmt.Errorf("%w; this user may not read %s, where this host's settings are: run with sudo", err, s.unreadable)
}

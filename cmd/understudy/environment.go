package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/understudy-ha/understudy/backup/environ"
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
	given := s.credentials()
	for name, set := range file.Assignments() {
		// Credentials of the bucket and the like are read by others from the environment.
		// UNDERSTUDY_INHERIT is read where programs are started.
		if _, is := s.lookup(name); is || given[providerOf(name)] || strings.HasPrefix(name, "UNDERSTUDY_") && name != environ.InheritVariable {
			continue
		}
		if err := s.setenv(name, set.Value); err != nil {
			return nil, exit.Usagef("%s, line %d: set %s: %w", file.Path, set.Line, name, err)
		}
	}
	return file, nil
}

// choosing are variables that are no credentials, and say which or where those are: beside
// a key they count for nothing.
var choosing = []string{
	"AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE",
	"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
	"AZURE_CLIENT_ID", "AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_FEDERATED_TOKEN_FILE",
}

// credentials are the providers of which the environment itself has credentials: the
// file's are not mixed into them.
func (s *surroundings) credentials() map[string]bool {
	given := map[string]bool{}
	for _, name := range slices.Concat(environ.SecretVariables, choosing) {
		if _, is := s.lookup(name); is {
			given[providerOf(name)] = true
		}
	}
	return given
}

// providerOf is whose credentials a variable belongs to; "" for nobody's.
func providerOf(name string) string {
	if !slices.Contains(environ.SecretVariables, name) && !slices.Contains(choosing, name) {
		return ""
	}
	provider, _, _ := strings.Cut(name, "_")
	if provider == "MINIO" {
		return "AWS" // minio:// takes either
	}
	return provider
}

// withSudo adds to why a command failed that this user may not read the settings of this
// host's service, which may be all that is missing.
func (s *surroundings) withSudo(err error) error {
	if s.unreadable == "" {
		return err
	}
	return fmt.Errorf("%w; this user may not read %s, where this host's settings are: run with sudo", err, s.unreadable)
}

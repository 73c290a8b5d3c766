package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/cmd/understudy/terminal"
)

// release and commit are set by the release build with -ldflags.
var release, commit string

// versionJSON is what `version` prints with --json.
type versionJSON struct {
	Version  string `json:"version"`
	Commit   string `json:"commit"` // "": not recorded
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Show the version of this program, and what it was built of",
		Example: "  understudy version --json",
		Args:    arguments(cobra.NoArgs),
		// It is said on any host, whatever is wrong with its settings.
		PersistentPreRunE: func(*cobra.Command, []string) error { return nil },
		RunE: func(*cobra.Command, []string) error {
			v := versionJSON{Version: version(), Commit: builtOf(), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
			return a.printer().Show(v, func(w io.Writer) {
				fmt.Fprintln(w, "understudy", v.Version)
				terminal.Facts(w, [][2]string{{"Commit", v.Commit}, {"Go", v.Go}, {"Platform", v.Platform}})
			})
		},
	}
}

// version is the release, or what the build recorded of the sources.
func version() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if of := builtOf(); info.Main.Version == "(devel)" && of != "" {
		return "devel-" + of[:min(len(of), 12)]
	}
	return info.Main.Version
}

// builtOf is the commit that the program was built of, as far as that is recorded.
func builtOf() string {
	if commit != "" {
		return commit
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	at, changed := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			at = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = ", changed"
		}
	}
	if at == "" {
		return ""
	}
	return at + changed
}

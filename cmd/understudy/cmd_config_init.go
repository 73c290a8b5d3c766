package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/cmd/understudy/discover"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
)

// discoveredJSON is what `config init` prints with --json.
type discoveredJSON struct {
	Path    string   `json:"path"` // "": it was printed alone
	Sources []string `json:"sources"`
	Units   []string `json:"units"`
	Notes   []string `json:"notes,omitempty"`
	Text    string   `json:"text,omitempty"` // with --print
}

func newConfigInit(a *app) *cobra.Command {
	var units []string
	var show bool
	cmd := &cobra.Command{
		Use:   "init [PATH]...",
		Short: "Write a first YAML file of what is found on this host",
		Long: `Write a first YAML file, with comments, of what is found on this host, to the path
that --config names. A file that is there is never overwritten. It changes nothing else.

It takes the databases of the PostgreSQL servers that run here, the folders of the
units that --unit names, which then are started and stopped by hooks, and every PATH: a
folder, a SQLite database, another file. Without --unit and PATH it takes the services
that were made on this host (/etc/systemd/system) and have a folder of their own.

Look through the file; then understudy doctor says whether all of it can be backed up.`,
		Example: `  sudo understudy config init --unit myapp
  sudo understudy config init /srv/myapp/uploads /srv/myapp/app.db
  understudy config init --print`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.discover(cmd.Context(), units, args, show) },
	}
	cmd.Flags().StringSliceVar(&units, "unit", nil, "systemd unit of the application; may be repeated")
	cmd.Flags().BoolVar(&show, "print", false, "print the file, and write none")
	return cmd
}

func (a *app) discover(ctx context.Context, units, paths []string, show bool) error {
	path := a.set.Config
	if _, err := os.Lstat(path); err == nil && !show {
		return alreadyThere(path)
	}
	f := discover.Finder{Run: discover.RunHere, Sockets: []string{"/run/postgresql", "/var/run/postgresql", "/tmp"}, Own: a.set.DataDir}
	found, err := f.Find(ctx, units, paths)
	if err != nil {
		return exit.With(exit.ErrUsage, err)
	}
	if len(found.Sources) == 0 {
		return exit.With(exit.ErrFailed, errors.New(strings.Join(append([]string{
			"nothing was found that could be backed up: name the application's unit (--unit myapp), its folders and its databases",
		}, found.Notes...), "\n")))
	}
	text := []byte(found.YAML())
	if err := a.set.CheckFile(text); err != nil {
		return exit.With(exit.ErrFailed, fmt.Errorf("what was found makes no configuration, and nothing was written: %w", err))
	}
	result := discoveredJSON{Path: path, Sources: []string{}, Units: []string{}, Notes: found.Notes}
	for _, s := range found.Sources {
		result.Sources = append(result.Sources, s.Name)
	}
	for _, u := range found.Units {
		result.Units = append(result.Units, u.Name)
	}
	if show {
		result.Path, result.Text = "", string(text)
		return a.printer().Show(result, func(w io.Writer) { fmt.Fprint(w, result.Text) })
	}
	if err := writeNew(path, text); err != nil {
		return err
	}
	return a.printer().Show(result, func(w io.Writer) {
		fmt.Fprintf(w, "%s is written, with %s.\n", path, english.WordSeries(result.Sources, "and"))
		for _, note := range found.Notes {
			fmt.Fprintln(w, note)
		}
		fmt.Fprintln(w, "Look through it; then: understudy doctor")
	})
}

func alreadyThere(path string) error {
	return exit.Refusedf("%s is there already, and is never overwritten: look with --print, or name another file with --config", path)
}

// writeNew writes a file that is not there yet, durably. Others cannot read it.
func writeNew(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make the folder of the configuration: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return alreadyThere(path)
	}
	if err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("write the configuration: %w", err), os.Remove(path))
	}
	return nil
}

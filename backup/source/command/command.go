// Package command is the kind of source whose state one command prints and another one
// reads back.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/chunks"
	"github.com/understudy-ha/understudy/backup/source/internal/program"
	"github.com/understudy-ha/understudy/backup/source/internal/swap"
)

const kind = "command"

func init() {
	source.Register(source.Kind{
		Name: kind, Export: exportEntry, Compare: source.CompareBytes, Lost: source.LostOutput,
	})
}

// Config describes a source that dumps and loads itself.
type Config struct {
	// Dump prints the whole state on its standard output and exits with 0.
	// (Program and arguments; no shell.)
	Dump []string
	// Restore reads such a state from its standard input and replaces the
	// present one by it, durably. It may be run again after it was interrupted
	// half-way, with the same input or with that of an earlier state.
	Restore []string
	// Timeout bounds each run; 0 for none.
	Timeout time.Duration
	// Env is added to the agent's own environment ("NAME=value").
	Env []string
	// Scratch is a folder for this source alone. It survives restarts: the
	// staged and the replaced state are kept there.
	Scratch string
}

// Source is a source whose state two commands print and read.
type Source struct {
	name string
	cfg  Config
	// fault, in tests, stops the swap after the named step.
	fault func(step string) error
}

var (
	_ source.Source   = (*Source)(nil)
	_ source.Sweeper  = (*Source)(nil)
	_ source.Stager   = (*Source)(nil)
	_ source.Rereader = (*Source)(nil)
)

// New makes a command source.
func New(name string, cfg Config) (*Source, error) {
	switch {
	case len(cfg.Dump) == 0:
		return nil, fmt.Errorf("source %s: command: dump is missing", name)
	case len(cfg.Restore) == 0:
		return nil, fmt.Errorf("source %s: command: restore is missing", name)
	case cfg.Scratch == "":
		return nil, fmt.Errorf("source %s: command: scratch folder is missing", name)
	}
	return &Source{name: name, cfg: cfg, fault: swap.NoFault}, nil
}

// Name implements Source.
func (c *Source) Name() string { return c.name }

// Kind implements Source.
func (c *Source) Kind() string { return kind }

// Check finds both programs. It runs neither.
func (c *Source) Check(context.Context) error {
	for _, argv := range [][]string{c.cfg.Dump, c.cfg.Restore} {
		if _, err := exec.LookPath(argv[0]); err != nil {
			return fmt.Errorf("source %s: find command: %w", c.name, err)
		}
	}
	if err := fsx.MakeScratch(c.cfg.Scratch); err != nil {
		return fmt.Errorf("source %s: %w", c.name, err)
	}
	return nil
}

// Dump keeps what the dump command prints.
func (c *Source) Dump(ctx context.Context, w *pack.Writer, _ *source.Previous) (source.Entry, error) {
	var root pack.Stream
	err := c.dump(ctx, func(r io.Reader) (err error) {
		root, err = w.Write(ctx, r, pack.Database)
		return err
	})
	if err != nil {
		return source.Entry{}, fmt.Errorf("dump %s: %w", c.name, err)
	}
	return source.Entry{Kind: c.Kind(), Name: c.name, Size: root.Size, Root: root}, nil
}

// dump runs the dump command and hands its output to keep.
func (c *Source) dump(ctx context.Context, keep func(io.Reader) error) error {
	ctx, cancel := c.limit(ctx)
	defer cancel()
	out, err := c.program(c.cfg.Dump, nil).Start(ctx)
	if err != nil {
		return err
	}
	return errors.Join(keep(out), out.Close())
}

// restore runs the restore command on the state in the file at path.
func (c *Source) restore(ctx context.Context, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	ctx, cancel := c.limit(ctx)
	defer cancel()
	return c.program(c.cfg.Restore, f).Run(ctx)
}

func (c *Source) program(argv []string, stdin io.Reader) program.Program {
	return program.Program{Argv: argv, Env: program.Environ(c.cfg.Env...), Stdin: stdin}
}

func (c *Source) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.cfg.Timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, c.cfg.Timeout, fmt.Errorf("killed after %s", c.cfg.Timeout))
}

// exportEntry writes the dumped output to a file "output" in a new folder.
func exportEntry(ctx context.Context, r *pack.Reader, e source.Entry, at fsx.Place) error {
	made, err := at.Dir.Make(at.Name)
	if err != nil {
		return err
	}
	defer made.Close()
	return fsx.NewFile(made, "output", func(f *os.File) error { return chunks.Copy(ctx, r, e.Root, f) })
}

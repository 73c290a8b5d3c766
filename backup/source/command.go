package source

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
)

func init() {
	Register(Kind{
		Name: "command", Export: exportCommand, Compare: compareCommands, Lost: LostOutput,
	})
}

// CommandConfig describes a source that dumps and loads itself.
type CommandConfig struct {
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

// Command is a source whose state two commands print and read.
type Command struct {
	name string
	cfg  CommandConfig
	// fault, in tests, stops the swap after the named step.
	fault func(step string) error
}

var (
	_ Source   = (*Command)(nil)
	_ Sweeper  = (*Command)(nil)
	_ Rereader = (*Command)(nil)
)

// NewCommand makes a command source.
func NewCommand(name string, cfg CommandConfig) (*Command, error) {
	switch {
	case len(cfg.Dump) == 0:
		return nil, fmt.Errorf("source %s: command: dump is missing", name)
	case len(cfg.Restore) == 0:
		return nil, fmt.Errorf("source %s: command: restore is missing", name)
	case cfg.Scratch == "":
		return nil, fmt.Errorf("source %s: command: scratch folder is missing", name)
	}
	return &Command{name: name, cfg: cfg, fault: noFault}, nil
}

// Name implements Source.
func (c *Command) Name() string { return c.name }

// Kind implements Source.
func (c *Command) Kind() string { return "command" }

// Check finds both programs. It runs neither.
func (c *Command) Check(context.Context) error {
	for _, argv := range [][]string{c.cfg.Dump, c.cfg.Restore} {
		if _, err := exec.LookPath(argv[0]); err != nil {
			return fmt.Errorf("source %s: find command: %w", c.name, err)
		}
	}
	if err := makeScratch(c.cfg.Scratch); err != nil {
		return fmt.Errorf("source %s: %w", c.name, err)
	}
	return nil
}

// Dump keeps what the dump command prints.
func (c *Command) Dump(ctx context.Context, w *pack.Writer, _ *Previous) (Entry, error) {
	var root pack.Stream
	err := c.dump(ctx, func(r io.Reader) (err error) {
		root, err = w.Write(ctx, r, pack.Database)
		return err
	})
	if err != nil {
		return Entry{}, fmt.Errorf("dump %s: %w", c.name, err)
	}
	return Entry{Kind: c.Kind(), Name: c.name, Size: root.Size, Root: root}, nil
}

// dump runs the dump command and hands its output to keep.
func (c *Command) dump(ctx context.Context, keep func(io.Reader) error) error {
	ctx, cancel := c.limit(ctx)
	defer cancel()
	out, err := c.program(c.cfg.Dump, nil).start(ctx)
	if err != nil {
		return err
	}
	return errors.Join(keep(out), out.Close())
}

// restore runs the restore command on the state in the file at path.
func (c *Command) restore(ctx context.Context, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	ctx, cancel := c.limit(ctx)
	defer cancel()
	return c.program(c.cfg.Restore, f).run(ctx)
}

func (c *Command) program(argv []string, stdin io.Reader) program {
	return program{argv: argv, env: childEnviron(c.cfg.Env...), stdin: stdin}
}

func (c *Command) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.cfg.Timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, c.cfg.Timeout, fmt.Errorf("killed after %s", c.cfg.Timeout))
}

// exportCommand writes the dumped output to a file "output" in a new folder.
func exportCommand(ctx context.Context, r *pack.Reader, e Entry, at fsx.Place) error {
	made, err := at.Dir.Make(at.Name)
	if err != nil {
		return err
	}
	defer made.Close()
	return newFile(made, "output", func(f *os.File) error { return copyStream(ctx, r, e.Root, f) })
}

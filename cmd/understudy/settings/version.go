package settings

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/backup/outlet"
	"github.com/understudy-ha/understudy/ha/application"
)

// Version tells the application's version: a literal, or a command whose
// first line of output it is. Both empty: unknown.
type Version struct {
	Literal string
	Command application.Hook
}

// Read returns what tells the application's version; nil where nothing does.
func (v Version) Read(env []string) func(context.Context) (string, error) {
	switch {
	case v.Literal != "":
		return func(context.Context) (string, error) { return v.Literal, nil }
	case len(v.Command.Command) > 0:
		return func(ctx context.Context) (string, error) { return firstLine(ctx, v.Command, env) }
	}
	return nil
}

// maxVersion is how much of what tells a version is read, in bytes.
const maxVersion = 1 << 10

// firstLine runs a command and gives the first line that it prints.
func firstLine(ctx context.Context, h application.Hook, env []string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, h.Timeout, fmt.Errorf("it took longer than %v", h.Timeout))
	defer cancel()
	cmd := exec.CommandContext(ctx, h.Command[0], h.Command[1:]...)
	cmd.Env = env
	cmd.WaitDelay = time.Second
	stdout, stderr := &outlet.Head{Max: maxVersion}, &outlet.Tail{Max: maxVersion}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	err := cmd.Run()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return "", fmt.Errorf("run %s: %w: %s", h.Command[0], err, stderr)
	}
	line := bufio.NewScanner(bytes.NewReader(stdout.Bytes()))
	line.Scan()
	return strings.TrimSpace(line.Text()), nil
}

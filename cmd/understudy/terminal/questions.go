package terminal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/understudy-ha/understudy/cmd/understudy/exit"
)

// IsTerminal reports whether a stream is a terminal.
func IsTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Confirm asks a question on a terminal, which "yes" confirms. otherwise says what
// has come of it if it is not confirmed.
func (s Streams) Confirm(ctx context.Context, question, otherwise string) error {
	fmt.Fprint(s.Err, question+" Type yes: ")
	answer, err := readLine(ctx, s.In)
	switch {
	case ctx.Err() != nil:
		return errors.New(otherwise)
	case err != nil && !errors.Is(err, io.EOF):
		return fmt.Errorf("read the answer: %w", err)
	}
	if !strings.EqualFold(strings.TrimSpace(answer), "yes") {
		return exit.Refusedf("%s: it was not confirmed", otherwise)
	}
	return nil
}

// readLine reads one line, unless ctx ends first: a read from a terminal cannot
// be interrupted, so it is left behind then.
func readLine(ctx context.Context, r io.Reader) (string, error) {
	type read struct {
		line string
		err  error
	}
	done := make(chan read, 1)
	go func() {
		line, err := bufio.NewReader(r).ReadString('\n')
		done <- read{line, err}
	}()
	select {
	case got := <-done:
		return got.line, got.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

package terminal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/understudy-ha/understudy/cmd/understudy/exit"
)

// Password reads a new password, of at most so many bytes, from a file, or asks for it
// on a
func (s Streams) Password(ctx context.Context, file string, most int64) (string, error) {
	if file == "" {
		return s.askPassword(ctx)
	}
	in := s.In
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", exit.Usagef("open password file: %w", err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, most+2))
	if err != nil {
		return "", fmt.Errorf("read password: %w", err)
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	password := strings.TrimSuffix(string(line), "\r")
	if password == "" {
		return "", exit.Usagef("there is no password in the first line of --password-file %s", file)
	}
	return password, nil
}

// askPassword asks twice. While it waits nothing is shown of what is typed.
func (s Streams) askPassword(ctx context.Context) (string, error) {
	f, ok := s.In.(*os.File)
	if !ok || !IsTerminal(f) {
		return "", exit.Usagef("there is no terminal to ask for the password on: give it with --password-file FILE, or - for standard input")
	}
	state, err := term.GetState(int(f.Fd()))
	if err != nil {
		return "", fmt.Errorf("look at the terminal: %w", err)
	}
	ask := func(prompt string) (string, error) {
		fmt.Fprint(s.Err, prompt)
		defer fmt.Fprintln(s.Err)
		type read struct {
			text []byte
			err  error
		}
		done := make(chan read, 1)
		go func() {
			text, err := term.ReadPassword(int(f.Fd()))
			done <- read{text, err}
		}()
		select {
		case got := <-done:
			return string(got.text), got.err
		case <-ctx.Done(): // the read is left behind, the echo is not
			return "", errors.Join(ctx.Err(), term.Restore(int(f.Fd()), state))
		}
	}
	password, err := ask("Password: ")
	if err != nil {
		return "", err
	}
	again, err := ask("The same again: ")
	if err == nil && again != password {
		err = exit.Usagef("the two are not the same")
	}
	return password, err
}

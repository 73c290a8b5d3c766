package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/ha/client"
)

// agentClient talks to an agent; its errors have the kind that decides the
// exit code, and say what to do.
type agentClient struct {
	client *client.Client
	where  string // for errors
}

// addAgentFlag gives a command the choice of another host's agent.
func (a *app) addAgentFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.agentURL, "agent", "", "URL of another host's agent, which wants the admin token; without it this host's, through the socket in the data folder")
}

// agent connects to the agent that the command is for. Nothing is sent yet.
func (a *app) agent() (*agentClient, error) {
	if a.agentURL == "" {
		return newAgentClient(a.set.Socket())
	}
	token, err := a.set.Token()
	if err != nil {
		return nil, err
	}
	if token == "" {
		return nil, exit.Usagef("an agent at a URL wants the admin token; set UNDERSTUDY_ADMIN_TOKEN or UNDERSTUDY_ADMIN_TOKEN_FILE")
	}
	trust, err := trusted(a.set.TLSCA)
	if err != nil {
		return nil, err
	}
	return newAgentClient(a.agentURL, client.WithToken(string(token)), client.WithTLS(trust))
}

func newAgentClient(target string, opts ...client.Option) (*agentClient, error) {
	c, err := client.New(target, opts...)
	if err != nil {
		return nil, exit.Usagef("%w", err)
	}
	return &agentClient{client: c, where: target}, nil
}

// trusted trusts the system's certificates and those in the file ca; nil where
// there is no such file, for the system's alone.
func trusted(ca string) (*tls.Config, error) {
	if ca == "" {
		return nil, nil
	}
	text, err := os.ReadFile(ca)
	if err != nil {
		return nil, exit.Usagef("read trusted certificates: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("read the system's certificates: %w", err)
	}
	if !pool.AppendCertsFromPEM(text) {
		return nil, exit.Usagef("%s holds no certificate in PEM form", ca)
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}

// get reads path into out.
func (c *agentClient) get(ctx context.Context, path string, out any) error {
	return c.do(ctx, http.MethodGet, path, nil, out)
}

// do makes one call: in and out are as of client.Client.Do.
func (c *agentClient) do(ctx context.Context, method, path string, in, out any) error {
	return c.translate(c.client.Do(ctx, method, path, in, out))
}

// stream gives every server-sent event of path to each.
func (c *agentClient) stream(ctx context.Context, path string, each func(client.Event) error) error {
	return c.translate(c.client.Stream(ctx, path, each))
}

// errNoAgent means that no agent answers, errAgentEnded that one stopped in the
// middle of an answer.
var (
	errNoAgent    = errors.New("no agent answers")
	errAgentEnded = errors.New("the agent ended before it had answered,")
)

// translate gives an error its kind.
func (c *agentClient) translate(err error) error {
	var p *client.Problem
	switch {
	case err == nil:
		return nil
	case errors.As(err, &p) && p.Type == client.TypeStopping:
		return fmt.Errorf("%w at %s: look with understudy status, once it runs again, whether it was done", errAgentEnded, c.where)
	case errors.As(err, &p) && p.Type == client.TypeSetUp:
		return exit.With(exit.ErrRefused, &answerError{problem: p})
	case errors.As(err, &p):
		return exit.With(kindOf(p.Status), &answerError{problem: p})
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w at %s: is it running (understudy serve), with the same --data-dir?", errNoAgent, c.where)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("%w at %s: look with understudy status, once it runs again, whether it was done", errAgentEnded, c.where)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("the agent's socket %s is not yours to use: run as the agent's user", c.where)
	}
	return err
}

// answerError is an agent's answer that says no.
type answerError struct{ problem *client.Problem }

// Error is the agent's own sentence.
func (e *answerError) Error() string { return strings.TrimPrefix(e.problem.Error(), "invalid: ") }

// Unwrap gives the answer.
func (e *answerError) Unwrap() error { return e.problem }

// kindOf maps an answer's status to the kind of failure.
func kindOf(status int) error {
	switch status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		return exit.ErrUsage
	case http.StatusConflict, http.StatusPreconditionFailed:
		return exit.ErrRefused
	case http.StatusBadGateway, http.StatusServiceUnavailable:
		return exit.ErrBucket
	default:
		return exit.ErrFailed
	}
}

// notThere reports whether the agent does not know what was asked for.
func notThere(err error) bool {
	var p *client.Problem
	return errors.As(err, &p) && p.Status == http.StatusNotFound
}

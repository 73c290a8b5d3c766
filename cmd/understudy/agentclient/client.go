// Package agentclient asks an agent for the command line: this host's, through the
// socket in the data folder, or another host's at its URL. Its errors have the kind that
// decides the exit code, and say what to do.
package agentclient

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

	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/cmd/understudy/settings"
	"github.com/understudy-ha/understudy/ha/client"
)

// Client talks to an agent.
type Client struct {
	client    *client.Client
	where     string // for errors
	hasBucket bool   // the bucket can be asked instead
}

// Open connects to the agent at a URL, or to this host's where that is "". Nothing is
// sent yet.
func Open(set *settings.Host, at string) (*Client, error) {
	if at == "" {
		c, err := open(set.Socket())
		if err == nil {
			c.hasBucket = set.Bucket != ""
		}
		return c, err
	}
	token, err := set.Token()
	if err != nil {
		return nil, err
	}
	if token == "" {
		return nil, exit.Usagef("an agent at a URL wants the admin token; set UNDERSTUDY_ADMIN_TOKEN or UNDERSTUDY_ADMIN_TOKEN_FILE")
	}
	trust, err := Trusted(set.TLSCA)
	if err != nil {
		return nil, err
	}
	return open(at, client.WithToken(string(token)), client.WithTLS(trust))
}

func open(target string, opts ...client.Option) (*Client, error) {
	c, err := client.New(target, opts...)
	if err != nil {
		return nil, exit.Usagef("%w", err)
	}
	return &Client{client: c, where: target}, nil
}

// Trusted trusts the system's certificates and those in the file ca; nil where
// there is no such file, for the system's alone.
func Trusted(ca string) (*tls.Config, error) {
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

// Get reads path into out.
func (c *Client) Get(ctx context.Context, path string, out any) error {
	return c.Do(ctx, http.MethodGet, path, nil, out)
}

// Do makes one call: in and out are as of client.Client.Do.
func (c *Client) Do(ctx context.Context, method, path string, in, out any) error {
	return c.translate(c.client.Do(ctx, method, path, in, out))
}

// Stream gives every server-sent event of path to each.
func (c *Client) Stream(ctx context.Context, path string, each func(client.Event) error) error {
	return c.translate(c.client.Stream(ctx, path, each))
}

// ErrNone means that no agent answers, ErrEnded that one stopped in the
// middle of an answer.
var (
	ErrNone  = errors.New("no agent answers")
	ErrEnded = errors.New("the agent ended before it had answered,")
)

// translate gives an error its kind.
func (c *Client) translate(err error) error {
	var p *client.Problem
	switch {
	case err == nil:
		return nil
	case errors.As(err, &p) && p.Type == client.TypeStopping:
		return fmt.Errorf("%w at %s: look with understudy status, once it runs again, whether it was done", ErrEnded, c.where)
	case errors.As(err, &p) && p.Type == client.TypeSetUp:
		return exit.With(exit.ErrRefused, &answerError{problem: p})
	case errors.As(err, &p):
		return exit.With(kindOf(p.Status), &answerError{problem: p})
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w at %s: is it running (understudy serve), with the same --data-dir?", ErrNone, c.where)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("%w at %s: look with understudy status, once it runs again, whether it was done", ErrEnded, c.where)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("the agent's socket %s is not yours to use: run with sudo, or as the agent's user", c.where)
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

// NotThere reports whether the agent does not know what was asked for.
func NotThere(err error) bool {
	var p *client.Problem
	return errors.As(err, &p) && p.Status == http.StatusNotFound
}

// Instead reports whether the bucket can be asked what no agent of this host answered.
func (c *Client) Instead(err error) bool { return errors.Is(err, ErrNone) && c.hasBucket }

// IsGone reports whether no agent answers, or none any more.
func IsGone(err error) bool { return errors.Is(err, ErrNone) || errors.Is(err, ErrEnded) }

// Where is the agent, for people.
func (c *Client) Where() string { return c.where }

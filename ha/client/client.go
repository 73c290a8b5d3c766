package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"
)

// DefaultSocket is where an agent with the default data folder listens.
const DefaultSocket = "/var/lib/understudy/agent.sock"

// Time-outs of a connection. An answer takes as long as its context allows.
const (
	connectTimeout = 10 * time.Second
	idleTimeout    = 90 * time.Second
)

// maxAnswer is the most bytes that are read of one answer.
const maxAnswer = 64 << 20

// Client talks to one agent. It is safe for concurrent use.
type Client struct {
	base  string
	token string
	http  *http.Client

	patience time.Duration
}

// Option changes how a Client talks to its agent.
type Option func(*options)

type options struct {
	token    string
	tls      *tls.Config
	patience time.Duration
}

// WithToken sends the admin token. Over TCP nearly everything needs it; over
// the socket nothing does.
func WithToken(token string) Option { return func(o *options) { o.token = token } }

// WithTLS sets what an https target is verified with.
func WithTLS(config *tls.Config) Option { return func(o *options) { o.tls = config } }

// New makes a client of the agent at target: the path of its socket (with or
// without "unix://"), "http://host:port", "https://host:port", or "" for
// DefaultSocket. Nothing is sent yet. The only error is a target that is none
// of these.
func New(target string, opts ...Option) (*Client, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: o.tls, ForceAttemptHTTP2: true,
		TLSHandshakeTimeout: connectTimeout, IdleConnTimeout: idleTimeout,
		DialContext: (&net.Dialer{Timeout: connectTimeout}).DialContext,
	}
	base, socket, err := parseTarget(target)
	if err != nil {
		return nil, err
	}
	if socket != "" {
		transport.Proxy = nil
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: connectTimeout}).DialContext(ctx, "unix", socket)
		}
	}
	return &Client{base: base, token: o.token, patience: o.patience, http: &http.Client{Transport: transport, CheckRedirect: noRedirect}}, nil
}

// parseTarget gives the base URL of requests, and the socket to send them
// through where there is one.
func parseTarget(target string) (base, socket string, err error) {
	if target == "" {
		target = DefaultSocket
	}
	if path, ok := strings.CutPrefix(target, "unix://"); ok {
		target = path
	}
	if filepath.IsAbs(target) {
		return "http://agent", target, nil
	}
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", "", fmt.Errorf("read the agent's address %q: it must be a socket's absolute path, http://host:port or https://host:port", target)
	}
	return strings.TrimSuffix(target, "/"), "", nil
}

// noRedirect keeps the token from travelling elsewhere: an agent never
// redirects.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Close drops idle connections. The client can go on being used.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Do sends in as JSON (nil: no body) and decodes the answer into out (nil: it
// is dropped). path begins with a slash. Any status but 2xx is a *Problem.
func (c *Client) Do(ctx context.Context, method, path string, in, out any) error {
	resp, err := c.send(ctx, method, path, "application/json", in)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil || resp.StatusCode == http.StatusNoContent {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return fmt.Errorf("read the agent's answer to %s %s: %w", method, path, err)
	}
	return nil
}

// send makes one request. The caller closes the body of a response.
func (c *Client) send(ctx context.Context, method, path, accept string, in any) (*http.Response, error) {
	req, err := c.request(ctx, method, path, in)
	if err != nil {
		return nil, fmt.Errorf("ask the agent: %s %s: %w", method, path, err)
	}
	req.Header.Set("Accept", accept)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the agent: %w", err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	return nil, errors.Join(readProblem(resp), resp.Body.Close())
}

func (c *Client) request(ctx context.Context, method, path string, in any) (*http.Request, error) {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	return req, nil
}

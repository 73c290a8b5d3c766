package prometheus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	// answerTimeout bounds the small questions to Prometheus.
	answerTimeout = 10 * time.Second
	// maxAnswer is the most bytes that an answer of Prometheus may have.
	maxAnswer = 1 << 20
)

// api is the HTTP API of the server.
type api struct {
	url     *url.URL
	client  *http.Client
	timeout time.Duration // of a snapshot
}

// call asks Prometheus's API and decodes what it answers.
func (a *api) call(ctx context.Context, timeout time.Duration, method, path string, data any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no answer within %v", timeout))
	defer cancel()
	if err := a.ask(ctx, method, path, data); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("ask Prometheus at %s: %w", a.url.Redacted(), err)
	}
	return nil
}

func (a *api) ask(ctx context.Context, method, path string, data any) error {
	req, err := http.NewRequestWithContext(ctx, method, a.url.JoinPath(path).String(), nil)
	if err != nil {
		return err
	}
	resp, err := a.client.Do(req)
	var failed *url.Error
	if errors.As(err, &failed) {
		err = failed.Err // without the URL, which stands before it already
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return err
	}
	var answer struct {
		Status string          `json:"status"`
		Error  string          `json:"error"`
		Data   json.RawMessage `json:"data"`
	}
	switch err := json.Unmarshal(body, &answer); {
	case err != nil:
		return fmt.Errorf("%s %s: %s, and what came is no answer of Prometheus", method, path, resp.Status)
	case answer.Error == "admin APIs disabled":
		return errAdminAPI
	case answer.Status != "success":
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, answer.Error)
	}
	return json.Unmarshal(answer.Data, data)
}

// version asks for the server's version.
func (a *api) version(ctx context.Context) (string, error) {
	var info struct {
		Version string `json:"version"`
	}
	err := a.call(ctx, answerTimeout, http.MethodGet, "/api/v1/status/buildinfo", &info)
	return info.Version, err
}

// flags asks for the flags that the server was started with.
func (a *api) flags(ctx context.Context) (map[string]string, error) {
	var flags map[string]string
	err := a.call(ctx, answerTimeout, http.MethodGet, "/api/v1/status/flags", &flags)
	return flags, err
}

// makeSnapshot has the server make a snapshot, and returns its name.
func (a *api) makeSnapshot(ctx context.Context) (string, error) {
	var made struct {
		Name string `json:"name"`
	}
	if err := a.call(ctx, a.timeout, http.MethodPost, "/api/v1/admin/tsdb/snapshot", &made); err != nil {
		return "", err
	}
	if !filepath.IsLocal(made.Name) || made.Name == "." || made.Name != filepath.Base(made.Name) {
		return "", fmt.Errorf("ask Prometheus at %s: a snapshot cannot have the name %q", a.url.Redacted(), made.Name)
	}
	return made.Name, nil
}

// answers reports whether anything takes connections at the server's address.
func (a *api) answers(ctx context.Context) bool {
	host := a.url.Host
	if a.url.Port() == "" {
		host = net.JoinHostPort(a.url.Hostname(), map[string]string{"http": "80", "https": "443"}[a.url.Scheme])
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", host)
	if err != nil {
		return false
	}
	_ = conn.Close() // nothing was sent
	return true
}

// before reports whether a version is older than major.minor. One that is not
// of this form is not.
func before(version string, major, minor int) bool {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return false
	}
	x, errX := strconv.Atoi(parts[0])
	y, errY := strconv.Atoi(parts[1])
	return errX == nil && errY == nil && (x < major || x == major && y < minor)
}

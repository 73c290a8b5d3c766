package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Backup describes a backup that has been published.
type Backup struct {
	ID       string    `json:"id"`
	Epoch    uint64    `json:"epoch"`
	Sequence uint64    `json:"sequence"`
	Time     time.Time `json:"time"`
	Digest   string    `json:"digest"`
}

type backupRequest struct {
	Reason  string `json:"reason,omitempty"`
	Trigger string `json:"trigger"`
	Wait    bool   `json:"wait"`
}

// Backup asks the active for a backup because a task has completed, and
// returns once the agent has taken the request on. Requests that come while a
// backup is being made share the next one. On a standby it is refused (a
// *Problem with Refused).
func (c *Client) Backup(ctx context.Context, reason string) error {
	return c.patiently(ctx, func(ctx context.Context) error {
		return c.Do(ctx, http.MethodPost, "/api/v1/backups", backupRequest{Reason: reason, Trigger: "task"}, nil)
	})
}

// BackupAndWait is Backup, and returns once a backup that covers all that the
// application wrote before the call is published in the bucket.
func (c *Client) BackupAndWait(ctx context.Context, reason string) (Backup, error) {
	var b Backup
	err := c.patiently(ctx, func(ctx context.Context) error {
		return c.Do(ctx, http.MethodPost, "/api/v1/backups", backupRequest{Reason: reason, Trigger: "task", Wait: true}, &b)
	})
	return b, err
}

// Leader says who is active, as one instance sees it.
type Leader struct {
	// Leading means that the asked instance is the active, and that its
	// application runs: the one to send users to.
	Leading   bool   `json:"leading"`
	Role      string `json:"role"` // of the asked instance: "active" or "standby"
	Epoch     uint64 `json:"epoch"`
	Active    string `json:"active,omitempty"` // name of the active; "" while it is not known
	ActiveURL string `json:"active_url,omitempty"`
}

// Leader asks who is active. An instance that does not lead is no error.
func (c *Client) Leader(ctx context.Context) (Leader, error) {
	var l Leader
	err := c.patiently(ctx, func(ctx context.Context) (err error) {
		l, err = c.leader(ctx)
		return err
	})
	if err != nil {
		return Leader{}, fmt.Errorf("ask who leads: %w", err)
	}
	return l, nil
}

// Role is the asked instance's role: "active" or "standby".
func (c *Client) Role(ctx context.Context) (string, error) {
	l, err := c.Leader(ctx)
	return l.Role, err
}

func (c *Client) leader(ctx context.Context) (Leader, error) {
	var l Leader
	req, err := c.request(ctx, http.MethodGet, "/leader", nil)
	if err != nil {
		return l, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return l, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK, http.StatusServiceUnavailable: // 503 is for load balancers; the body is the same
	default:
		return l, readProblem(resp)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxProblem)).Decode(&l); err != nil {
		return l, err
	}
	if l.Role == "" {
		return l, errors.New("the answer is not an agent's")
	}
	return l, nil
}

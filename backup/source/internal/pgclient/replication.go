package pgclient

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
)

// Replicate returns a connection that speaks the protocol of physical replication,
// under a name by which the server knows it. The caller closes it.
func (c URL) Replicate(ctx context.Context, called string) (*pgconn.PgConn, error) {
	cfg, err := c.config()
	if err != nil {
		return nil, err
	}
	cfg.RuntimeParams["replication"] = "true"
	cfg.RuntimeParams["application_name"] = called
	conn, err := pgconn.ConnectConfig(ctx, &cfg.Config)
	if err != nil {
		return nil, fmt.Errorf("connect for replication: %w", err)
	}
	return conn, nil
}

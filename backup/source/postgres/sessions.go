package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// describedSession says who is connected, and from where.
const describedSession = `pg_catalog.format('session %s of role %s (%s) in database %s from %s', pid, usename,
	coalesce(nullif(application_name, ''), 'no name'), datname, coalesce(pg_catalog.host(client_addr), 'a socket'))`

// Sessions implements Connected.
func (p *Source) Sessions(ctx context.Context) (all []string, err error) {
	err = p.withAdmin(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, `
			SELECT `+describedSession+`
			FROM pg_catalog.pg_stat_activity
			WHERE datname = $1 AND backend_type = 'client backend' AND application_name <> 'understudy'
			ORDER BY backend_start LIMIT 3`, p.target())
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look who is connected to %s: %w", p.name, err)
	}
	return all, nil
}

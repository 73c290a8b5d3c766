package postgres

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
)

// refusedByRights are errors of the server's that another role would not have.
var refusedByRights = regexp.MustCompile(`permission denied|row-level security|must be owner`)

// whyNot adds to an error of pg_dump's what to do, as far as that can be known:
// who holds the lock that it waited for, or which role would be let.
func (d *dumper) whyNot(ctx context.Context, s *dumpSnapshot, err error) error {
	text := err.Error()
	if refusedByRights.MatchString(text) && !s.super {
		return fmt.Errorf("%w (role %q, who dumps, is no superuser and may not read all of it: %s, or make the role the owner; row security hides rows from whoever lacks BYPASSRLS)", err, s.dumper.User(), useSuperuser)
	}
	if ctx.Err() != nil || !strings.Contains(text, "LOCK TABLE") {
		return err
	}
	var holders []string
	lookErr := d.db.admin.To(d.db.name()).With(ctx, func(conn *pgx.Conn) (err error) {
		holders, err = pgclient.CollectNames(ctx, conn, sqlLockHolders)
		return err
	})
	if lookErr != nil || len(holders) == 0 {
		return fmt.Errorf("%w (waited %s for a lock on a table)", err, d.lockTimeout)
	}
	return fmt.Errorf("waited %s for a lock that is held by %s: %w", d.lockTimeout, strings.Join(holders, "; and by "), err)
}

// sqlLockHolders describes who keeps pg_dump from a table: whoever holds it
// exclusively, or waits to and is itself held up. A prepared transaction holds
// locks without a session.
const sqlLockHolders = `
WITH exclusive AS (
	SELECT l.pid, l.virtualtransaction, c.oid::regclass::text || CASE WHEN l.granted THEN '' ELSE ', which it waits for itself' END AS relation
	FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_class c ON c.oid = l.relation
	WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND c.relpersistence <> 't' AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
		AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
		AND l.pid IS DISTINCT FROM pg_backend_pid()
), pids AS (
	SELECT pid, string_agg(relation, ', ') AS relation FROM exclusive WHERE pid IS NOT NULL GROUP BY pid
	UNION ALL SELECT b.pid, NULL FROM (SELECT DISTINCT unnest(pg_blocking_pids(pid)) AS pid FROM exclusive WHERE pid IS NOT NULL) b
		WHERE b.pid NOT IN (SELECT pid FROM exclusive WHERE pid IS NOT NULL)
)
(SELECT format('process %s of role %s (%s, %s for %s%s): %s', a.pid, a.usename, coalesce(nullif(a.application_name, ''), 'no name'),
		coalesce(a.state, a.backend_type), date_trunc('second', clock_timestamp() - coalesce(a.xact_start, a.backend_start)),
		coalesce(', table ' || p.relation, ''), left(regexp_replace(a.query, '\s+', ' ', 'g'), 200))
	FROM pids p JOIN pg_catalog.pg_stat_activity a USING (pid) ORDER BY a.xact_start LIMIT 3)
UNION ALL
(SELECT format('prepared transaction %L of role %s (%s old, table %s)', x.gid, x.owner, date_trunc('second', clock_timestamp() - x.prepared), min(e.relation))
	FROM exclusive e JOIN pg_catalog.pg_locks l ON l.virtualtransaction = e.virtualtransaction AND l.locktype = 'transactionid' AND l.pid IS NULL
		JOIN pg_catalog.pg_prepared_xacts x ON x.transaction = l.transactionid
	WHERE e.pid IS NULL GROUP BY x.gid, x.owner, x.prepared LIMIT 3)`

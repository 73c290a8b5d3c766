package postgres

import (
	"context"
	"fmt"
	"io/fs"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
)

var _ source.Previewer = (*Source)(nil)

// Preview implements source.Previewer: whether the snapshot of a dump can be had, and
// whether the role that dumps may read all that is in the database.
func (p *Source) Preview(ctx context.Context) error {
	if err := p.dumper.preview(ctx); err != nil {
		return fmt.Errorf("source %s: %w", p.name, err)
	}
	return nil
}

func (d *dumper) preview(ctx context.Context) error {
	snap, err := d.open(ctx)
	if err != nil {
		return err
	}
	snap.close(ctx)
	if snap.super {
		return nil
	}
	var closed []string
	err = snap.dumper.With(ctx, func(conn *pgx.Conn) (err error) {
		closed, err = pgclient.CollectNames(ctx, conn, sqlClosed)
		return err
	})
	switch {
	case err != nil:
		return fmt.Errorf("look for what may not be read: %w", err)
	case len(closed) == 0:
		return nil
	}
	const named = 5
	more := ""
	if n := len(closed) - named; n > 0 {
		closed, more = closed[:named], fmt.Sprintf(" and %d more", n)
	}
	return fmt.Errorf("role %q, who dumps, may not read all of %s%s: a backup would fail; %s, or make the role the owner: %w", snap.dumper.User(), strings.Join(closed, ", "), more, useSuperuser, fs.ErrPermission)
}

// sqlClosed names what pg_dump reads, and the role may not. What belongs to an extension
// is not in a dump. The rows that row security hides are missed by pg_dump, which fails.
const sqlClosed = `
SELECT pg_catalog.format('%s %I.%I', CASE c.relkind WHEN 'S' THEN 'sequence' ELSE 'table' END, n.nspname, c.relname)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'S') AND c.relpersistence <> 't' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')
AND (NOT pg_catalog.has_schema_privilege(n.oid, 'USAGE') OR NOT pg_catalog.has_table_privilege(c.oid, 'SELECT')
  OR c.relkind = 'r' AND pg_catalog.row_security_active(c.oid))
UNION ALL
SELECT 'large object ' || m.oid
FROM pg_catalog.pg_largeobject_metadata m
WHERE pg_catalog.current_setting('lo_compat_privileges') = 'off' AND NOT pg_catalog.pg_has_role(m.lomowner, 'USAGE')
AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(m.lomacl) a
  WHERE a.privilege_type = 'SELECT' AND (a.grantee = 0 OR pg_catalog.pg_has_role(a.grantee, 'USAGE')))
ORDER BY 1`

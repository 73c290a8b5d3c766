package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
	"github.com/understudy-ha/understudy/backup/source/postgres/internal/globals"
)

// loss is a look for something that is in a database, or belongs to it, and
// that a restore of its dump does not bring back as it was.
type loss struct {
	query string // its rows are what is found, as text
	text  string // with %s for what is found
}

// lossesForAll are those whoever dumps.
var lossesForAll = []loss{
	{
		`SELECT subname::text FROM pg_catalog.pg_subscription WHERE subenabled AND subdbid = ` + thisDatabase,
		"subscriptions (%s): a restore leaves them disabled, for two databases must not share a slot of the publisher's: let the demote hook disable them and the promote hook enable and refresh them",
	},
	{
		`SELECT slot_name::text FROM pg_catalog.pg_replication_slots WHERE database = current_database() AND NOT temporary`,
		"logical replication slots (%s) are not in a backup: after a promotion whoever reads from them needs new ones",
	},
	{
		`SELECT gid FROM pg_catalog.pg_prepared_xacts WHERE database = current_database() AND prepared < now() - interval '5 minutes'`,
		"prepared transactions (%s) are not in a backup, and keep locks and dead rows: commit them or roll them back",
	},
	{
		`SELECT DISTINCT spcname::text FROM pg_catalog.pg_tablespace t WHERE spcname NOT IN ('pg_default', 'pg_global')
			AND (oid IN (SELECT reltablespace FROM pg_catalog.pg_class) OR oid = (SELECT dattablespace FROM pg_catalog.pg_database WHERE datname = current_database()))`,
		"tablespaces (%s) are not kept: a restore puts everything into the server's default one",
	},
	{
		`SELECT extname::text FROM pg_catalog.pg_extension WHERE extname = 'pg_cron'`, "extension %s " + oneDatabase,
	},
}

// lossesForOthers are those when no superuser dumps.
var lossesForOthers = []loss{
	{
		`SELECT subname::text FROM pg_catalog.pg_subscription WHERE subdbid = ` + thisDatabase,
		"subscriptions (%s) are not in the backup, for a superuser alone may read them: " + useSuperuser,
	},
	{
		`SELECT format('%s on %s', usename, srvname) FROM pg_catalog.pg_user_mappings WHERE umoptions IS NULL`,
		"options of user mappings (%s) are not in the backup, unless they have none: the role that dumps may not read them: " + useSuperuser,
	},
}

const (
	thisDatabase = `(SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())`
	useSuperuser = "name a superuser in admin_url"
)

// lossOfCollation is of servers that know versions of collations (15).
var lossOfCollation = loss{
	`SELECT format('%s, the system now has %s', datcollversion, pg_database_collation_actual_version(oid)) FROM pg_catalog.pg_database
		WHERE datname = current_database() AND datcollversion <> pg_database_collation_actual_version(oid)`,
	"the database was made with the collation's version %s: its order may be wrong here, and so its indexes: REINDEX DATABASE, then ALTER DATABASE … REFRESH COLLATION VERSION",
}

// losses says what the dump that is to be made will not bring back.
func (d *dumper) losses(ctx context.Context, s *dumpSnapshot, prev *source.Previous) ([]string, error) {
	looks := slices.Clone(lossesForAll)
	if s.facts.Major >= 15 {
		looks = append(looks, lossOfCollation)
	}
	found, err := readLosses(ctx, s.conn, looks)
	if err != nil {
		return nil, err
	}
	if !s.super {
		// What is hidden depends on who looks.
		err := s.dumper.With(ctx, func(conn *pgx.Conn) error {
			more, err := readLosses(ctx, conn, lossesForOthers)
			found = append(found, more...)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	found = append(found, d.lostOfRoles(s)...)
	return append(found, droppedRoles(ctx, s.conn, prev)...), nil
}

func readLosses(ctx context.Context, conn *pgx.Conn, looks []loss) (found []string, err error) {
	for _, l := range looks {
		names, err := pgclient.CollectNames(ctx, conn, l.query)
		if err != nil {
			return nil, err
		}
		if len(names) > 0 {
			found = append(found, fmt.Sprintf(l.text, strings.Join(names, ", ")))
		}
	}
	return found, nil
}

// lostOfRoles says what of the roles a restore does not bring back.
func (d *dumper) lostOfRoles(s *dumpSnapshot) (found []string) {
	if !s.globals.Passwords && slices.ContainsFunc(s.globals.Roles, func(r globals.Role) bool { return r.Login }) {
		found = append(found, "passwords of roles are not in the backup, for a superuser alone may read them: set them on a standby by hand, or "+useSuperuser)
	}
	if d.trusted {
		return found
	}
	if powers := s.globals.Mighty(); len(powers) > 0 {
		found = append(found, fmt.Sprintf("roles with a superuser's power (%s): a restore gives it to none that lacks it on the standby's server, unless trust_superusers is set there", strings.Join(powers, ", ")))
	}
	return found
}

// droppedRoles names roles that the previous backup has and the server no
// longer: a standby that has them keeps them.
func droppedRoles(ctx context.Context, conn *pgx.Conn, prev *source.Previous) []string {
	var before Facts
	if prev == nil || json.Unmarshal(prev.Entry.Facts, &before) != nil || len(before.Roles) == 0 {
		return nil
	}
	var gone []string
	err := conn.QueryRow(ctx, `
		SELECT array_agg(name ORDER BY 1) FROM unnest($1::text[]) name
		WHERE name NOT IN (SELECT rolname FROM pg_catalog.pg_roles)`, before.Roles).Scan(&gone)
	if err != nil || len(gone) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("roles that were dropped (%s) stay on the servers of standbys that have them: drop them there", strings.Join(gone, ", "))}
}

// remarks are the warnings among what a program of PostgreSQL's said, each with
// its details.
func remarks(said string) (found []string) {
	for line := range strings.Lines(said) {
		line = strings.TrimSpace(line)
		program, text, _ := strings.Cut(line, ": ")
		switch {
		case line == "":
		case len(found) > 0 && (strings.HasPrefix(text, "detail: ") || strings.HasPrefix(text, "hint: ") || program == "DETAIL" || program == "HINT"):
			_, text, _ = strings.Cut(line, strings.SplitN(line, ": ", 3)[0]+": ")
			found[len(found)-1] += "; " + strings.TrimSpace(text)
		default:
			found = append(found, line)
		}
	}
	return found
}

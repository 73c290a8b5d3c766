package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
	"github.com/understudy-ha/understudy/backup/source/postgres/internal/globals"
)

// collationFact is a collation that something in a database uses, or that lies in it.
type collationFact struct {
	Name     string `json:"name"`
	Provider string `json:"provider"` // as databaseProps has it
	Locale   string `json:"locale,omitempty"`
	CType    string `json:"ctype,omitempty"`
	// Own tells that a restore makes it; the others are the server's.
	Own bool `json:"own,omitempty"`
}

// sqlCollations gives them. The columns differ between versions; as JSON they may
// be missing. What every server has (C, POSIX, the default) is in no dependency.
const sqlCollations = `
SELECT c.collname::text, c.collprovider::text,
	coalesce(to_jsonb(c)->>'colllocale', to_jsonb(c)->>'colliculocale', c.collcollate::text, ''), coalesce(c.collctype::text, ''), c.collnamespace <> 'pg_catalog'::regnamespace
FROM pg_catalog.pg_collation c
WHERE c.collnamespace <> ALL (ARRAY['pg_catalog', 'information_schema']::regnamespace[])
	OR c.oid IN (SELECT refobjid FROM pg_catalog.pg_depend WHERE refclassid = 'pg_catalog.pg_collation'::regclass)
ORDER BY 1, 2, 3`

// locales are the ones that the server was last seen to have.
type locales struct{ seen atomic.Pointer[string] }

// accept fails unless the server here has the locales and collations of a
// dump: what a restore would find out, and a blank host only in a promotion.
func (l *locales) accept(ctx context.Context, conn *pgx.Conn, facts Facts) error {
	needs := fmt.Sprint(facts.Encoding, facts.Collate, facts.CType, facts.Provider, facts.Locale, facts.Rules, facts.Collations)
	if known := l.seen.Load(); known != nil && *known == needs {
		return nil
	}
	var user string
	if err := conn.QueryRow(ctx, "SELECT current_user::text").Scan(&user); err != nil {
		return err
	}
	d := globals.Database{Owner: user, Encoding: facts.Encoding, Collate: facts.Collate, CType: facts.CType, Provider: facts.Provider, Locale: facts.Locale, Rules: facts.Rules}
	if err := tryLocale(ctx, conn, &d, "the database"); err != nil {
		return err
	}
	if err := acceptCollations(ctx, conn, facts); err != nil {
		return err
	}
	for _, c := range facts.Collations {
		if !c.Own || c.Provider != "c" {
			continue
		}
		own := globals.Database{Owner: user, Encoding: facts.Encoding, Collate: c.Locale, CType: c.CType, Provider: "c"}
		if err := tryLocale(ctx, conn, &own, fmt.Sprintf("collation %q", c.Name)); err != nil {
			return err
		}
	}
	l.seen.Store(&needs)
	return nil
}

// tryLocale has the server look whether it could make a database with a locale,
// under a name that is taken: that it says last.
func tryLocale(ctx context.Context, conn *pgx.Conn, d *globals.Database, of string) error {
	err := pgclient.Execute(ctx, conn, d.Create(conn.Config().Database))
	var refused *pgconn.PgError
	switch {
	case !errors.As(err, &refused) && err != nil:
		return fmt.Errorf("look for the locale of %s: %w", of, err)
	case err == nil, refused.Code == "42P04", refused.Code == "42501": // duplicate_database; who may make none is told so elsewhere
		return nil
	}
	names := strings.Join(strings.Fields(strings.Join([]string{d.Collate, d.CType, d.Locale}, " ")), ", ")
	return fmt.Errorf("the server here does not have the locale of %s (%s): install it on the server's host (locale-gen, or the system's package of locales; for ICU a server that is built with it), and restart the server: %w", of, names, pgclient.Explained(err))
}

// acceptCollations looks for collations that are the server's own.
func acceptCollations(ctx context.Context, conn *pgx.Conn, facts Facts) error {
	var names []string
	icu := false
	for _, c := range facts.Collations {
		if !c.Own {
			names = append(names, c.Name)
		}
		icu = icu || c.Provider == "i"
	}
	if len(facts.Collations) == 0 {
		return nil
	}
	var hasICU bool
	var missing []string
	err := conn.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM pg_catalog.pg_collation WHERE collprovider = 'i'), ARRAY(
			SELECT name FROM unnest($1::text[]) name WHERE NOT EXISTS (
				SELECT FROM pg_catalog.pg_collation c WHERE c.collname = name AND c.collnamespace = 'pg_catalog'::regnamespace
					AND c.collencoding IN (-1, pg_char_to_encoding($2))) ORDER BY 1)`, names, facts.Encoding).Scan(&hasICU, &missing)
	switch {
	case err != nil:
		return fmt.Errorf("list collations: %w", err)
	case len(missing) > 0:
		return fmt.Errorf("the server here does not have collations that the database uses (%s): install their locales on the server's host, restart the server, and run there, in the database template0 (it has to be opened for that) and in that of admin_url: SELECT pg_import_system_collations('pg_catalog')", strings.Join(missing, ", "))
	case icu && !hasICU:
		return errors.New("the database uses collations of ICU, which the server here is built without: install a server with it")
	}
	return nil
}

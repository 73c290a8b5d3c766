package postgres

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
	"github.com/understudy-ha/understudy/backup/source/postgres/internal/archive"
)

// restorer is the role that a dump is restored as. It is no superuser, for what
// is in a dump may run as it: a check's function, an index's, a default's. Rows
// and objects are its own until all of them are there.
type restorer struct {
	url       pgclient.URL // to connect as the role
	role      string
	temporary bool // it was made for one restore
	admin     bool // it is the administrator
}

// maxRestorers is how many roles of earlier restores may be left that cannot be
// dropped, for a database that cannot be dropped is theirs.
const maxRestorers = 20

// restorers choose, make and drop the roles that dumps are restored as.
type restorers struct {
	db    *database
	user  string        // the application's own role
	given *pgclient.URL // restore_url; nil for none
	trust []string
	// restorable is whether a restore was seen to be able to connect as its role.
	restorable atomic.Bool
}

// choose chooses the role, and makes it where it has to be made.
func (r *restorers) choose(ctx context.Context, conn *pgx.Conn) (*restorer, error) {
	switch {
	case r.byAdmin(conn):
		return &restorer{url: r.db.admin, role: r.db.admin.User(), admin: true}, nil
	case r.given != nil:
		return r.givenRole(ctx)
	}
	for n := 1; n <= maxRestorers; n++ {
		name := r.db.restorer(n)
		if pgclient.Execute(ctx, conn, "DROP ROLE IF EXISTS "+pgclient.Ident(name)) == nil {
			return r.makeRole(ctx, conn, name)
		}
	}
	return nil, fmt.Errorf("roles of earlier restores (%s and so on) cannot be dropped: drop what they own, and them", r.db.restorer(1))
}

// byAdmin tells whether the administrator restores everything: who is the
// application's own role, or trusts the dump.
func (r *restorers) byAdmin(conn *pgx.Conn) bool {
	return r.db.admin.User() == r.user && !pgclient.IsSuper(conn) || slices.Contains(r.trust, archive.TrustAll)
}

// givenRole is the role of restore_url.
func (r *restorers) givenRole(ctx context.Context) (*restorer, error) {
	w := &restorer{url: *r.given, role: r.given.User()}
	err := w.url.With(ctx, func(conn *pgx.Conn) error {
		var strong bool
		err := conn.QueryRow(ctx, "SELECT rolsuper OR rolcreaterole FROM pg_catalog.pg_roles WHERE rolname = session_user").Scan(&strong)
		if err == nil && strong {
			err = fmt.Errorf("role %q is a superuser, or makes roles: name one that has no such right, for what is in a dump may run as it", w.role)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("restore_url: %w", err)
	}
	return w, nil
}

// makeRole makes a role that can do nothing but connect.
func (r *restorers) makeRole(ctx context.Context, conn *pgx.Conn, name string) (*restorer, error) {
	password := rand.Text()
	verifier, err := scramVerifier(password)
	if err != nil {
		return nil, err
	}
	sql := []string{"CREATE ROLE " + pgclient.Ident(name) + " WITH LOGIN PASSWORD " + pgclient.Literal(verifier)}
	if !pgclient.IsSuper(conn) { // who gives it a database, and takes over what it makes
		sql = append(sql, "GRANT "+pgclient.Ident(name)+" TO CURRENT_USER")
	}
	if err := pgclient.Execute(ctx, conn, sql...); err != nil {
		return nil, fmt.Errorf("make role %q to restore as: %w", name, pgclient.Explained(err))
	}
	return &restorer{url: r.db.admin.As(name, password), role: name, temporary: true}, nil
}

// enter finds out how the role can connect to a database.
func (w *restorer) enter(ctx context.Context, database string) error {
	refused := w.try(ctx, database)
	if refused == nil || !w.temporary {
		return refused
	}
	tcp, ok := w.url.OverTCP()
	if ok {
		other := *w
		if other.url = tcp; other.try(ctx, database) == nil {
			w.url = tcp
			return nil
		}
	}
	return fmt.Errorf("%w: a dump is restored as a role of its own without a superuser's rights, which the server does not let in: "+
		"give pg_hba.conf a line such as \"host all %s 127.0.0.1/32 scram-sha-256\" (or \"local all %s scram-sha-256\"), or name a role without these rights in restore_url", refused, hbaName(w.role), hbaName(w.role))
}

// hbaName is a role's name for pg_hba.conf.
func hbaName(role string) string { return `"` + strings.ReplaceAll(role, `"`, `""`) + `"` }

func (w *restorer) try(ctx context.Context, database string) error {
	err := w.url.To(database).With(ctx, func(*pgx.Conn) error { return nil })
	if pgclient.IsCode(err, "42501") { // it is known, and this database is not for everybody
		return nil
	}
	return err
}

// check tells whether a restore could connect as its role. What was once
// so is not asked again.
func (r *restorers) check(ctx context.Context, conn *pgx.Conn) error {
	if r.restorable.Load() {
		return nil
	}
	return r.alone(ctx, conn, func() (err error) {
		w, err := r.choose(ctx, conn)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, r.drop(ctx, conn, w)) }()
		if err := w.enter(ctx, r.db.admin.Database()); err != nil {
			return err
		}
		r.restorable.Store(true)
		return nil
	})
}

// alone calls do while nobody else makes such a role for this database, in
// another process either.
func (r *restorers) alone(ctx context.Context, conn *pgx.Conn, do func() error) (err error) {
	sum := sha256.Sum256([]byte("understudy restorer of " + r.db.name()))
	key := int64(binary.BigEndian.Uint64(sum[:]))
	if _, err := conn.Exec(ctx, "SELECT pg_catalog.pg_advisory_lock($1)", key); err != nil {
		return fmt.Errorf("wait for another restore: %w", err)
	}
	defer func() {
		_, unlocked := conn.Exec(context.WithoutCancel(ctx), "SELECT pg_catalog.pg_advisory_unlock($1)", key)
		if err == nil {
			err = unlocked
		}
	}()
	return do()
}

// sqlOfExtensions are privileges that let the restorer make foreign servers, fill
// the tables that extensions have dumped, and use their schemas.
const sqlOfExtensions = `
SELECT format('USAGE ON FOREIGN DATA WRAPPER %I', fdwname) FROM pg_catalog.pg_foreign_data_wrapper
UNION ALL
SELECT format(CASE c.relkind WHEN 'S' THEN 'SELECT, UPDATE ON SEQUENCE %I.%I' ELSE 'SELECT, INSERT, UPDATE ON TABLE %I.%I' END, n.nspname, c.relname)
FROM pg_catalog.pg_extension e, unnest(e.extconfig) x JOIN pg_catalog.pg_class c ON c.oid = x JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
UNION ALL
SELECT format('USAGE, CREATE ON SCHEMA %I', n.nspname)
FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_namespace n ON n.oid = d.objid
WHERE d.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.deptype = 'e'`

// arrive lets the restorer use what belongs to the extensions of a database.
func (w *restorer) arrive(ctx context.Context, conn *pgx.Conn) error {
	return w.eachPrivilege(ctx, conn, "GRANT %s TO "+pgclient.Ident(w.role))
}

// leave ends all that the restorer may do in a database, and gives to the
// administrator what is still its own: what the dump's code has made.
func (w *restorer) leave(ctx context.Context, conn *pgx.Conn) error {
	if w.temporary {
		return pgclient.Execute(ctx, conn, "REASSIGN OWNED BY "+pgclient.Ident(w.role)+" TO CURRENT_USER", "DROP OWNED BY "+pgclient.Ident(w.role))
	}
	return w.eachPrivilege(ctx, conn, "REVOKE %s FROM "+pgclient.Ident(w.role))
}

func (w *restorer) eachPrivilege(ctx context.Context, conn *pgx.Conn, format string) error {
	if w.admin {
		return nil
	}
	all, err := pgclient.CollectNames(ctx, conn, sqlOfExtensions)
	for i := range all {
		all[i] = fmt.Sprintf(format, all[i])
	}
	return errors.Join(err, pgclient.Execute(ctx, conn, all...))
}

// drop drops the role if it was made for this restore.
func (r *restorers) drop(ctx context.Context, conn *pgx.Conn, w *restorer) error {
	if !w.temporary {
		return nil
	}
	if err := pgclient.Execute(ctx, conn, "DROP ROLE IF EXISTS "+pgclient.Ident(w.role)); err != nil {
		return fmt.Errorf("drop role %q: %w", w.role, pgclient.Explained(err))
	}
	return nil
}

// scramIterations is how often PostgreSQL itself hashes.
const scramIterations = 4096

// scramVerifier is what the server keeps of a password: the password itself
// would stand in its log.
func scramVerifier(password string) (string, error) {
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails
	salted, err := pbkdf2.Key(sha256.New, password, salt, scramIterations, sha256.Size)
	if err != nil {
		return "", err
	}
	sign := func(key []byte, text string) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	stored := sha256.Sum256(sign(salted, "Client Key"))
	base := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", scramIterations, base(salt), base(stored[:]), base(sign(salted, "Server Key"))), nil
}

package postgrescluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
)

// synced has a server's commits wait until they are in the bucket: the shipper is the
// server's synchronous standby, and reports what the bucket has confirmed.
type synced struct {
	server *primary
	called string // by which name the server knows the shipper, and nobody else
	wanted bool
	// patience is how long commits wait for a bucket that does not answer.
	patience time.Duration
}

// Sync implements source.Synced.
func (s *Source) Sync() (wanted bool, patience time.Duration) { return s.sync.wanted, s.sync.patience }

// Arm implements source.Synced.
func (s *Source) Arm(ctx context.Context) error {
	_, err := s.sync.set(ctx, s.sync.names())
	return s.say("have the commits of %s wait for the bucket", err)
}

// Disarm implements source.Synced.
func (s *Source) Disarm(ctx context.Context) (did bool, err error) {
	did, err = s.sync.set(ctx, "")
	return did, s.say("have the commits of %s wait no longer", err)
}

// names is what synchronous_standby_names is while commits wait.
func (y *synced) names() string { return y.called }

// set sets synchronous_standby_names to the one or the other of its two values, and reports
// whether it had the other one. A third one is somebody else's, and stays.
func (y *synced) set(ctx context.Context, names string) (did bool, err error) {
	err = y.server.with(ctx, func(conn *pgx.Conn) error {
		// Neither of these waits for a commit of its own.
		var now string
		if err := conn.QueryRow(ctx, "SELECT current_setting('synchronous_standby_names')").Scan(&now); err != nil {
			return err
		}
		switch {
		case now == names, names == "" && now != y.names():
			return nil
		case now != "" && now != y.names():
			return fmt.Errorf("the server has synchronous standbys of its own, which are left as they are: synchronous_standby_names is %q; either do without them, or without sync", now)
		}
		quoted, err := conn.PgConn().EscapeString(names)
		if err != nil {
			return err
		}
		if _, err := conn.Exec(ctx, "ALTER SYSTEM SET synchronous_standby_names = '"+quoted+"'"); err != nil {
			return y.explain(err)
		}
		if _, err := conn.Exec(ctx, "SELECT pg_catalog.pg_reload_conf()"); err != nil {
			return y.explain(err)
		}
		did = true
		return nil
	})
	return did, err
}

// forget has the server be as it was before its commits waited.
func (y *synced) forget(ctx context.Context, conn *pgx.Conn) error {
	var now string
	if err := conn.QueryRow(ctx, "SELECT current_setting('synchronous_standby_names')").Scan(&now); err != nil || now != y.names() {
		return err
	}
	if _, err := conn.Exec(ctx, "ALTER SYSTEM RESET synchronous_standby_names"); err != nil {
		return y.explain(err)
	}
	_, err := conn.Exec(ctx, "SELECT pg_catalog.pg_reload_conf()")
	return y.explain(err)
}

// explain says which right is missing.
func (y *synced) explain(err error) error {
	if !pgclient.IsCode(err, "42501") {
		return err
	}
	return fmt.Errorf("%w: run there as a superuser: %s", err, y.grants())
}

func (y *synced) grants() string {
	user := pgclient.Ident(y.server.url.User())
	return fmt.Sprintf("GRANT ALTER SYSTEM ON PARAMETER synchronous_standby_names TO %s; GRANT EXECUTE ON FUNCTION pg_catalog.pg_reload_conf() TO %s", user, user)
}

// check says which right is missing, before it is needed.
func (y *synced) check(ctx context.Context, conn *pgx.Conn) error {
	if !y.wanted {
		return nil
	}
	var may bool
	err := conn.QueryRow(ctx, `SELECT pg_catalog.has_parameter_privilege(current_user, 'synchronous_standby_names', 'ALTER SYSTEM')
		AND pg_catalog.has_function_privilege(current_user, 'pg_catalog.pg_reload_conf()', 'EXECUTE')`).Scan(&may)
	if err == nil && !may {
		err = fmt.Errorf("sync needs a right that the role of url lacks: run there as a superuser: %s", y.grants())
	}
	return err
}

// lifted has a server's commits wait no longer that an earlier configuration had wait.
func (y *synced) lifted(ctx context.Context) error {
	if y.wanted {
		return nil
	}
	var now string
	err := y.server.with(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, "SELECT current_setting('synchronous_standby_names')").Scan(&now)
	})
	if err != nil || now != y.names() {
		return err
	}
	if _, err = y.set(ctx, ""); err != nil {
		return fmt.Errorf("have its commits wait no longer: %w", err)
	}
	return nil
}

// autoFile is where a server keeps what ALTER SYSTEM sets.
const autoFile = "postgresql.auto.conf"

// unarmed has a restored data folder forget that the commits of the server that it is a copy
// of waited: nobody confirms those of a server that is started on it.
func unarmed(data *fsx.Dir, called string, who owner) error {
	f, err := data.Open(autoFile, unix.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	armed := "synchronous_standby_names = '" + called + "'\n"
	if !slices.Contains(slices.Collect(strings.Lines(string(text))), armed) {
		return nil
	}
	return data.Write(autoFile, func(f *os.File) error {
		for line := range strings.Lines(string(text)) {
			if line == armed {
				continue
			}
			if _, err := f.WriteString(line); err != nil {
				return err
			}
		}
		return who.give(int(f.Fd()))
	})
}

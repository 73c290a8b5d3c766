package pgclient

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// parameter is one parameter of a session.
type parameter struct{ name, value string }

// ownSession is what every session of ours sets, whatever the server, its
// databases and its roles have as their defaults: nothing ends the work after
// a time, what is read means what was written, and no name is looked up where
// an application can put its own.
var ownSession = []parameter{
	{"statement_timeout", "0"},
	{"idle_in_transaction_session_timeout", "0"},
	{"default_transaction_read_only", "off"},
	{"default_transaction_isolation", "read committed"},
	{"default_transaction_deferrable", "off"},
	{"search_path", ""},
	{"DateStyle", "ISO, YMD"},
	{"IntervalStyle", "postgres"},
	{"array_nulls", "on"},
	{"transform_null_equals", "off"},
	{"bytea_output", "hex"},
	{"standard_conforming_strings", "on"},
	{"row_security", "on"},
}

// newSession are those of ownSession that only newer servers know, by the
// major version that brought them.
var newSession = []struct {
	parameter
	since int
}{
	{parameter{"idle_session_timeout", "0"}, 14},
	{parameter{"transaction_timeout", "0"}, 17},
}

// sessionParameters are those for a server of the given major version. No lock
// is waited for longer than lockTimeout; 0 waits without end.
func sessionParameters(major int, lockTimeout time.Duration) []parameter {
	all := append([]parameter{{"lock_timeout", strconv.FormatInt(lockTimeout.Milliseconds(), 10)}}, ownSession...)
	for _, p := range newSession {
		if major >= p.since {
			all = append(all, p.parameter)
		}
	}
	return all
}

// settle sets the session's parameters, in one request. They are not sent when
// the session begins: there a pooler refuses what it does not know.
func (c URL) settle(ctx context.Context, conn *pgx.Conn) error {
	major, err := majorOf(conn.PgConn().ParameterStatus("server_version"))
	if err != nil {
		return err
	}
	var sql strings.Builder
	for _, p := range sessionParameters(major, c.lockTimeout) {
		fmt.Fprintf(&sql, "SET %s TO %s;", p.name, Literal(p.value))
	}
	if _, err := conn.PgConn().Exec(ctx, sql.String()).ReadAll(); err != nil {
		return fmt.Errorf("set up the session: %w", err)
	}
	return nil
}

// programOptions are the same for libpq's programs, after those of the URL and of the
// agent's environment. The programs set lock_timeout themselves.
func (c URL) programOptions(major int) string {
	var all []string
	if cfg, err := c.config(); err == nil { // it was parsed before
		all = append(all, cfg.RuntimeParams["options"])
	}
	for _, p := range sessionParameters(major, 0) {
		all = append(all, "-c "+p.name+"="+strings.NewReplacer(`\`, `\\`, " ", `\ `).Replace(p.value))
	}
	return strings.TrimSpace(strings.Join(all, " "))
}

// Package pgclient is what a client of a PostgreSQL server needs: URLs, whose password is
// shown to nobody; connections, whose sessions heed no default of the server's; names and
// strings in SQL; and the programs pg_dump and pg_restore.
package pgclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/source/internal/program"
)

// URL is a connection URL, its parts told apart so that the password never
// stands on a command line.
type URL struct {
	url      url.URL // without password, database and options
	dbname   string
	password string
	options  string // for the server, as libpq writes them
	// lockTimeout is how long the sessions of this process wait for a lock; 0
	// is without end.
	lockTimeout time.Duration
}

// ParseURL parses a URL. Its errors do not quote it, for it may hold a
// password.
func ParseURL(raw string, lockTimeout time.Duration) (URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return URL{}, errors.New("not a valid URL")
	}
	if u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return URL{}, errors.New("must begin with postgres://")
	}
	c := URL{dbname: strings.TrimPrefix(u.Path, "/"), lockTimeout: lockTimeout}
	query := u.Query()
	if query.Has("sslpassword") {
		return URL{}, errors.New("sslpassword is not supported: use a key file without one")
	}
	if query.Has("dbname") {
		c.dbname = query.Get("dbname")
	}
	c.password, _ = u.User.Password()
	if query.Has("password") {
		c.password = query.Get("password")
	}
	c.options = query.Get("options")
	query.Del("dbname")
	query.Del("password")
	query.Del("options")
	if u.User != nil {
		u.User = url.User(u.User.Username())
	}
	u.Path, u.RawPath, u.RawQuery = "", "", query.Encode()
	c.url = *u
	if c.dbname == "" {
		return URL{}, errors.New("names no database")
	}
	if _, err := c.config(); err != nil {
		return URL{}, err
	}
	return c, nil
}

// Database is the name of the database.
func (c URL) Database() string { return c.dbname }

// To returns the same server and user with another database.
func (c URL) To(database string) URL {
	c.dbname = database
	return c
}

// Public is the URL as libpq's programs take it, without the password.
func (c URL) Public() string {
	u := c.url
	u.Path = "/" + c.dbname
	// libpq's decoder does not take a plus sign for a space.
	u.RawQuery = strings.ReplaceAll(u.RawQuery, "+", "%20")
	return u.String()
}

// Environ is the environment for libpq's programs, for a server of the given
// major version.
func (c URL) Environ(major int) []string {
	extra := []string{"PGAPPNAME=understudy", "LC_ALL=C", "PGOPTIONS=" + c.programOptions(major)}
	if c.password != "" {
		extra = append(extra, "PGPASSWORD="+c.password)
	}
	return program.Environ(extra...)
}

func (c URL) config() (*pgx.ConnConfig, error) {
	cfg, err := pgx.ParseConfig(c.Public())
	if err != nil {
		return nil, err
	}
	if c.password != "" {
		cfg.Password = c.password
	}
	cfg.RuntimeParams["application_name"] = "understudy"
	cfg.RuntimeParams["timezone"] = "UTC"
	cfg.RuntimeParams["client_encoding"] = "UTF8"
	if c.options != "" {
		cfg.RuntimeParams["options"] = c.options
	}
	return cfg, nil
}

// User is who connects.
func (c URL) User() string {
	cfg, err := c.config()
	if err != nil {
		return ""
	}
	return cfg.User
}

// With calls do with a connection and closes it.
func (c URL) With(ctx context.Context, do func(*pgx.Conn) error) error {
	conn, err := c.Connect(ctx)
	if err != nil {
		return err
	}
	defer CloseConn(ctx, conn)
	return do(conn)
}

// Connect returns a connection, which the caller closes.
func (c URL) Connect(ctx context.Context) (*pgx.Conn, error) {
	cfg, err := c.config()
	if err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to database %q: %w", c.dbname, err)
	}
	if err := c.settle(ctx, conn); err != nil {
		CloseConn(ctx, conn)
		return nil, fmt.Errorf("connect to database %q: %w", c.dbname, err)
	}
	return conn, nil
}

// CloseConn closes a connection for which nobody waits any more: the server
// notices whatever cannot be told it.
func CloseConn(ctx context.Context, conn *pgx.Conn) { _ = conn.Close(ctx) }

// Local tells whether the server runs on this host, as far as the address says.
func (c URL) Local() bool {
	cfg, err := c.config()
	if err != nil {
		return false
	}
	if strings.HasPrefix(cfg.Host, "/") || cfg.Host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(cfg.Host)
	return err == nil && ip.IsLoopback()
}

// As returns the same server for another user.
func (c URL) As(user, password string) URL {
	query := c.url.Query()
	query.Del("user")
	c.url.RawQuery = query.Encode()
	c.url.User, c.password, c.options = url.User(user), password, ""
	return c
}

// OverTCP returns the same server on this host's loopback address: often that
// asks for a password where the socket asks who is at the other end.
func (c URL) OverTCP() (URL, bool) {
	cfg, err := c.config()
	if err != nil || !strings.HasPrefix(cfg.Host, "/") {
		return c, false
	}
	query := c.url.Query()
	query.Del("host")
	query.Del("port")
	c.url.RawQuery = query.Encode()
	c.url.Host = net.JoinHostPort("127.0.0.1", strconv.Itoa(int(cfg.Port)))
	return c, true
}

// OverSocket tells whether the server is reached by a Unix socket.
func (c URL) OverSocket() bool {
	cfg, err := c.config()
	return err == nil && strings.HasPrefix(cfg.Host, "/")
}

package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/source/internal/program"
)

// connURL is a connection URL, its parts told apart so that the password never
// stands on a command line.
type connURL struct {
	url      url.URL // without password, database and options
	database string
	password string
	options  string // for the server, as libpq writes them
	// lockTimeout is how long the sessions of this process wait for a lock; 0
	// is without end.
	lockTimeout time.Duration
}

// parseConnURL parses a URL. Its errors do not quote it, for it may hold a
// password.
func parseConnURL(raw string) (connURL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return connURL{}, errors.New("not a valid URL")
	}
	if u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return connURL{}, errors.New("must begin with postgres://")
	}
	c := connURL{database: strings.TrimPrefix(u.Path, "/")}
	query := u.Query()
	if query.Has("sslpassword") {
		return connURL{}, errors.New("sslpassword is not supported: use a key file without one")
	}
	if query.Has("dbname") {
		c.database = query.Get("dbname")
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
	if c.database == "" {
		return connURL{}, errors.New("names no database")
	}
	if _, err := c.config(); err != nil {
		return connURL{}, err
	}
	return c, nil
}

// to gives the same server and user with another database.
func (c connURL) to(database string) connURL {
	c.database = database
	return c
}

// public is the URL as libpq's programs take it, without the password.
func (c connURL) public() string {
	u := c.url
	u.Path = "/" + c.database
	// libpq's decoder does not take a plus sign for a space.
	u.RawQuery = strings.ReplaceAll(u.RawQuery, "+", "%20")
	return u.String()
}

// environ is the environment for libpq's programs, for a server of the given
// major version.
func (c connURL) environ(major int) []string {
	extra := []string{"PGAPPNAME=understudy", "LC_ALL=C", "PGOPTIONS=" + c.programOptions(major)}
	if c.password != "" {
		extra = append(extra, "PGPASSWORD="+c.password)
	}
	return program.Environ(extra...)
}

func (c connURL) config() (*pgx.ConnConfig, error) {
	cfg, err := pgx.ParseConfig(c.public())
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

// user is who connects.
func (c connURL) user() string {
	cfg, err := c.config()
	if err != nil {
		return ""
	}
	return cfg.User
}

// with calls do with a connection and closes it.
func (c connURL) with(ctx context.Context, do func(*pgx.Conn) error) error {
	conn, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer closeConn(ctx, conn)
	return do(conn)
}

func (c connURL) connect(ctx context.Context) (*pgx.Conn, error) {
	cfg, err := c.config()
	if err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to database %q: %w", c.database, err)
	}
	if err := c.settle(ctx, conn); err != nil {
		closeConn(ctx, conn)
		return nil, fmt.Errorf("connect to database %q: %w", c.database, err)
	}
	return conn, nil
}

// closeConn closes a connection for which nobody waits any more: the server
// notices whatever cannot be told it.
func closeConn(ctx context.Context, conn *pgx.Conn) { _ = conn.Close(ctx) }

// maxName is the longest name of a database, in bytes. Longer ones the server
// would cut silently.
const maxName = 63

// besideName makes a name from a database's that is not too long and still
// its own.
func besideName(database, suffix string) string {
	if len(database)+len(suffix) <= maxName {
		return database + suffix
	}
	sum := sha256.Sum256([]byte(database))
	suffix = "_" + hex.EncodeToString(sum[:4]) + suffix
	cut := maxName - len(suffix)
	for !utf8.RuneStart(database[cut]) {
		cut--
	}
	return database[:cut] + suffix
}

// local tells whether the server runs on this host, as far as the address says.
func (c connURL) local() bool {
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

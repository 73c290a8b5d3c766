package discover

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// databases lists the databases of the servers whose sockets are on this host. A server
// is asked as its own user, whom it lets in on Debian and its like.
func (f *Finder) databases(ctx context.Context, found *Found) {
	var seen []string
	for _, dir := range f.Sockets {
		paths, _ := filepath.Glob(filepath.Join(dir, ".s.PGSQL.*")) // the pattern is sound
		for _, path := range paths {
			port := strings.TrimPrefix(filepath.Base(path), ".s.PGSQL.")
			info, err := os.Lstat(path)
			if _, no := strconv.Atoi(port); no != nil || err != nil || info.Mode()&fs.ModeSocket == 0 {
				continue
			}
			place, err := filepath.EvalSymlinks(dir)
			if err != nil || slices.Contains(seen, place+port) {
				continue
			}
			seen = append(seen, place+port)
			f.databasesOf(ctx, found, dir, port, ownerOf(info))
		}
	}
}

// ownerOf is the name of whom a file belongs to; "" where nobody knows.
func ownerOf(info fs.FileInfo) string {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	u, err := user.LookupId(strconv.FormatUint(uint64(stat.Uid), 10))
	if err != nil {
		return ""
	}
	return u.Username
}

// query lists databases with their owners, and the role that asks.
const query = `SELECT datname, pg_catalog.pg_get_userbyid(datdba), current_user FROM pg_catalog.pg_database WHERE NOT datistemplate AND datallowconn AND datname <> 'postgres' ORDER BY 1`

func (f *Finder) databasesOf(ctx context.Context, found *Found, dir, port, owner string) {
	out, err := f.Run(ctx, owner, "psql", "-XAt", "-F", "\t", "-h", dir, "-p", port, "-d", "postgres", "-c", query)
	if err != nil {
		found.Notes = append(found.Notes, fmt.Sprintf("The PostgreSQL server at %s, port %s, did not say which databases it has: %v.", dir, port, err))
		return
	}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		part := strings.Split(lines.Text(), "\t")
		if len(part) != 3 {
			continue
		}
		found.Sources = append(found.Sources, Source{
			Name: part[0], Kind: "postgres", URL: address(part[1], part[0], dir, port), AdminURL: address(part[2], "postgres", dir, port),
			About: []string{"The agent must be let in as both users: understudy doctor says whether it is."},
		})
	}
}

// address is the URL of a database.
func address(role, database, dir, port string) string {
	q := url.Values{"host": {dir}}
	if port != "5432" {
		q.Set("port", port)
	}
	u := url.URL{Scheme: "postgres", User: url.User(role), Path: "/" + database, RawQuery: strings.ReplaceAll(q.Encode(), "%2F", "/")}
	return u.String()
}

package sqlite

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/dustin/go-humanize"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/sqlitefile"
	"github.com/understudy-ha/understudy/backup/source/internal/tree"
)

// Position implements Positioner: a digest that every commit changes.
func (s *Source) Position(context.Context) (string, error) {
	p, err := s.real()
	if err != nil {
		return "", fmt.Errorf("look at %s: %w", s.Called, err)
	}
	defer p.Close()
	at, err := Fingerprint(p)
	if err != nil {
		return "", fmt.Errorf("look at %s: %w", s.Called, err)
	}
	return at, nil
}

// since is Since.
func since(e source.Entry, position string) string {
	var facts Facts
	if err := json.Unmarshal(e.Facts, &facts); err != nil || facts.Fingerprint == position {
		return ""
	}
	return "later commits"
}

// Lost implements source.Measured.
func (f *Facts) Lost(was *Facts) string {
	// Every table has a page of its own.
	if !f.Empty || was.Empty || was.PageCount < 2 {
		return ""
	}
	return fmt.Sprintf("had tables (%s), has none", humanize.IBytes(uint64(was.Size)))
}

// maybeFull tells whether SQLite may have met a full disk: it calls it an
// I/O error, or says that it cannot open the file.
func maybeFull(err error) bool {
	switch sqlitefile.ResultCode(err) {
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN:
		return true
	}
	return false
}

// node is the file of a restored database.
func (f *Facts) node(name string) *tree.Node {
	return &tree.Node{
		Path: name, Type: tree.RegularFile, Mode: f.Mode & 0o777,
		UID: f.UID, GID: f.GID, User: f.User, Group: f.Group, Xattrs: f.Xattrs,
	}
}

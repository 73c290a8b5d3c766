package source

import (
	"context"
	"fmt"

	"github.com/dustin/go-humanize"

	"github.com/understudy-ha/understudy/backup/source/volume"
)

// HeldIn tells which of the file systems mounted within a source had files when
// e was dumped.
func HeldIn(e Entry) func(path string) bool {
	if held := kinds[e.Kind].HeldIn; held != nil {
		return held(e)
	}
	return func(string) bool { return false }
}

// Held says what a source had when e was dumped, in the words of Holds; "" where
// nobody counts it.
func Held(e Entry) string {
	if held := kinds[e.Kind].Held; held != nil {
		return held(e)
	}
	return ""
}

// Holds says what a source has now, without a dump of it: "" where that takes
// more than a look.
func Holds(ctx context.Context, src Source) (string, error) {
	c, ok := src.(Counter)
	if !ok {
		return "", nil
	}
	n, err := c.Count(ctx)
	if err != nil {
		return "", fmt.Errorf("count the files of source %s: %w", src.Name(), err)
	}
	return humanize.Comma(n) + " files", nil
}

// Present is a source whose state can be seen to be there though nothing can be asked of
// it, such as that of a server which refuses its role, or is down.
type Present interface {
	Present() (bool, error)
}

// Counter is a source whose files can be counted at little cost.
type Counter interface {
	Count(ctx context.Context) (int64, error)
}

// Voluminous is a source that lies on file systems of this host.
type Voluminous interface {
	Volumes() ([]volume.Volume, error)
}

// Volumes tells which file systems a source lies on here: first the one that
// its path is on, or will be, then those that are mounted within. None for a
// source that lies on none, such as a database server's.
func Volumes(ctx context.Context, src Source) ([]volume.Volume, error) {
	v, ok := src.(Voluminous)
	if !ok {
		return nil, nil
	}
	found, err := v.Volumes()
	if err != nil {
		return nil, fmt.Errorf("find the file system of source %s: %w", src.Name(), err)
	}
	return found, ctx.Err()
}

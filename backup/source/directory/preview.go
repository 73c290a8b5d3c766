package directory

import (
	"context"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source"
)

// previewed is how many paths a preview names.
const previewed = 5

// Preview implements source.Previewer: whether everything in the directory may be read.
// It reads no file.
func (d *Source) Preview(ctx context.Context) error {
	at, err := fsx.Resolve(d.cfg.Path)
	if err != nil {
		return fmt.Errorf("source %s: %w", d.name, err)
	}
	defer at.Close()
	var closed []string
	n := 0
	w := walk{root: at.Path(), at: at, exclude: d.cfg.Exclude, guests: d.guestsIn(at.Path()), fault: noPathFault, visit: func(f *found) error {
		if f.self != nil || f.stat.Mode&unix.S_IFMT != unix.S_IFREG || unix.Faccessat(f.in.FD, f.name, unix.R_OK, unix.AT_EACCESS) != unix.EACCES {
			return nil
		}
		if n++; len(closed) < previewed {
			closed = append(closed, f.path)
		}
		return nil
	}}
	if err := w.run(ctx); err != nil {
		return fmt.Errorf("source %s: %w", d.name, err)
	}
	if n == 0 {
		return nil
	}
	more := ""
	if n > len(closed) {
		more = fmt.Sprintf(" and %d more", n-len(closed))
	}
	return fmt.Errorf("source %s: this user may not read %s%s in %s: a backup would fail: %w", d.name, strings.Join(closed, ", "), more, d.cfg.Path, fs.ErrPermission)
}

var _ source.Previewer = (*Source)(nil)

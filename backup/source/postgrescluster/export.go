package postgrescluster

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/swap"
)

// exportEntry writes a data folder to a place where nothing is. A server that is started
// on it replays the log that comes along, and is as the other one was.
func exportEntry(ctx context.Context, r *pack.Reader, e source.Entry, at fsx.Place) error {
	f, err := factsOf(e)
	if err != nil {
		return err
	}
	return swap.Export(ctx, at, func(made *fsx.Dir) error {
		return fill(ctx, r, e, f, made, func(who owner) error {
			_, err := plantLog(ctx, r, *e.Extra, f, made, who)
			return err
		})
	})
}

// fill writes a data folder, whose log plantLog writes.
func fill(ctx context.Context, r *pack.Reader, e source.Entry, f Facts, made *fsx.Dir, plantLog func(owner) error) error {
	who, mode, err := ownerOf(fsx.Place{Dir: made, Name: "none"}, f)
	if err != nil {
		return err
	}
	if err := plant(ctx, r, e, made, who); err != nil {
		return err
	}
	if err := plantLog(who); err != nil {
		return err
	}
	// Where the configuration lies elsewhere, as on Debian, a server starts with none.
	for name, text := range map[string]string{
		confFile: "# The configuration lay outside of the data folder, in " + f.Config + ", and is not in the backup.\n",
		hbaFile:  "local all all peer\n", identFile: "",
	} {
		there, err := made.Exists(name)
		if err == nil && !there {
			err = made.Write(name, func(file *os.File) error {
				_, err := file.WriteString(text)
				return errors.Join(err, who.give(int(file.Fd())))
			})
		}
		if err != nil {
			return err
		}
	}
	if err := finishDir(made, mode, who); err != nil {
		return err
	}
	if err := unix.Syncfs(made.FD()); err != nil {
		return fmt.Errorf("sync the file system of %s: %w", made.Path(), err)
	}
	return nil
}

// compareEntries is Compare. Pages of two moments cannot be compared for people: what can
// be said is how much was written between them.
func compareEntries(_ context.Context, c *source.Comparison) (d source.Difference, err error) {
	a, err := factsOf(c.A.Entry)
	if err != nil {
		return d, err
	}
	b, err := factsOf(c.B.Entry)
	if err != nil {
		return d, err
	}
	switch {
	case a.System != b.System:
		d.Notes = append(d.Notes, fmt.Sprintf("they are of two servers: their system identifiers are %d and %d", a.System, b.System))
	case a.Timeline == b.Timeline && a.To == b.To:
		d.Same = true
	case a.Timeline != b.Timeline:
		d.Notes = append(d.Notes, fmt.Sprintf("they are on timelines %d (at %s) and %d (at %s): one server was promoted between them", a.Timeline, a.To, b.Timeline, b.To))
	default:
		d.Notes = append(d.Notes, fmt.Sprintf("%s of write-ahead log lie between them, from %s to %s", humanize.IBytes(uint64(max(a.To, b.To)-min(a.To, b.To))), a.To, b.To))
	}
	if !d.Same {
		d.Notes = append(d.Notes, "rows of a whole server are not compared: export both, and compare in SQL")
	}
	return d, nil
}

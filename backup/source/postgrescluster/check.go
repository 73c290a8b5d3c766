package postgrescluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
	"github.com/understudy-ha/understudy/backup/source/internal/swap"
)

// checker looks whether a server can be backed up, and replaced. It says all that is
// missing at once, each with what mends it.
type checker struct {
	server   *primary
	place    *place
	programs *programs
	slot     slot
	sync     *synced
	commands [][]string
}

// check looks at the host, and at the server.
func (c *checker) check(ctx context.Context) error {
	if err := c.checkThere(); err != nil {
		return err
	}
	return errors.Join(c.checkCommands(), c.checkServer(ctx))
}

// checkRestore looks at the host alone.
func (c *checker) checkRestore(context.Context) error {
	return errors.Join(c.checkCommands(), c.checkPlace())
}

func (c *checker) checkCommands() error {
	for _, argv := range c.commands {
		if _, err := exec.LookPath(argv[0]); err != nil {
			return fmt.Errorf("find the program that stops or starts the server: %w", err)
		}
	}
	return nil
}

// checkPlace looks whether the data folder, which may be missing, can be exchanged.
func (c *checker) checkPlace() error {
	return fsx.At(c.place.path, func(at fsx.Place) error {
		mounted, err := swap.IsMountPoint(at)
		switch {
		case err != nil:
			return err
		case mounted:
			return fmt.Errorf("data_dir %s is a mount point, which cannot be renamed: move the data into a folder of that file system (%s/data), and have data_dir and the server's data_directory name it",
				at.Path(), at.Path())
		}
		if err := swap.CheckRename(at); err != nil {
			return err
		}
		return swap.CheckPlace(at, false)
	})
}

// versionFile is in every data folder.
const versionFile = "PG_VERSION"

// Present implements source.Present: it is, where a data folder is.
func (s *Source) Present() (there bool, err error) {
	err = fsx.At(s.place.path, func(at fsx.Place) error {
		if there, err = at.Exists(); err != nil || !there {
			return err
		}
		d, err := at.Dir.OpenDir(at.Name)
		if err != nil {
			return err
		}
		defer d.Close()
		there, err = d.Exists(versionFile)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return there, s.say("look whether the data folder of %s is there", err)
}

// checkThere is checkPlace of a folder that has to be there.
func (c *checker) checkThere() error {
	if err := c.checkPlace(); err != nil {
		return err
	}
	return fsx.At(c.place.path, func(at fsx.Place) error {
		there, err := at.Exists()
		if err == nil && !there {
			err = fmt.Errorf("data_dir %s is missing; make the server, or restore it: %w", at.Path(), fs.ErrNotExist)
		}
		if err != nil {
			return err
		}
		d, err := at.Dir.OpenDir(at.Name)
		if err != nil {
			return err
		}
		defer d.Close()
		if version, err := d.Exists(versionFile); err != nil || !version {
			return fmt.Errorf("data_dir %s is no data folder of PostgreSQL: it has no file PG_VERSION", at.Path())
		}
		if st, err := d.Stat("pg_wal"); err != nil || !fsx.IsDir(st) {
			return fmt.Errorf("%s/pg_wal is no folder, but perhaps a symbolic link, which a swap would share with the server that it replaces: stop the server, move the log into data_dir, and start it", at.Path())
		}
		return nil
	})
}

// checkServer asks the server, and a connection for replication.
func (c *checker) checkServer(ctx context.Context) error {
	var found []error
	major := 0
	err := c.server.with(ctx, func(conn *pgx.Conn) error {
		a, err := c.server.ask(ctx, conn)
		if err != nil {
			return err
		}
		major = a.Major
		if err := a.fit(); err != nil {
			return err
		}
		found = append(append(found, a.settings()...), c.server.isAt(&a), c.server.full())
		more, err := c.state(ctx, conn, &a)
		found = append(found, more...)
		if err == nil {
			found = append(found, c.sync.check(ctx, conn))
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("check url: %w", err)
	}
	if _, err := c.programs.find(ctx, major); err != nil {
		found = append(found, err)
	}
	if conn, err := c.server.replicate(ctx); err != nil {
		found = append(found, err)
	} else {
		_ = conn.Close(ctx) // nobody waits for it
	}
	return errors.Join(found...)
}

// state says what of the server's present state has to be otherwise.
func (c *checker) state(ctx context.Context, conn *pgx.Conn, a *answer) (found []error, err error) {
	if err := checkSpaces(ctx, conn); err != nil {
		found = append(found, err)
	}
	var super, replicates bool
	if err := conn.QueryRow(ctx, "SELECT rolsuper, rolreplication FROM pg_catalog.pg_roles WHERE rolname = current_user").Scan(&super, &replicates); err != nil {
		return nil, fmt.Errorf("look at the role of url: %w", err)
	}
	if !super && !replicates {
		found = append(found, fmt.Errorf("the role of url may not replicate: ALTER ROLE %s REPLICATION", pgclient.Ident(c.server.url.User())))
	}
	more, err := c.slots(ctx, conn, a)
	return append(found, more...), err
}

// checkSpaces refuses tablespaces.
func checkSpaces(ctx context.Context, conn *pgx.Conn) error {
	spaces, err := pgclient.CollectNames(ctx, conn, `SELECT spcname || ' at ' || pg_catalog.pg_tablespace_location(oid)
		FROM pg_catalog.pg_tablespace WHERE pg_catalog.pg_tablespace_location(oid) <> '' ORDER BY 1`)
	if err != nil {
		return fmt.Errorf("look for tablespaces: %w", err)
	}
	if len(spaces) > 0 {
		return fmt.Errorf("tablespaces lie outside of data_dir, which is not supported (%s): move what is in them (ALTER DATABASE … SET TABLESPACE pg_default, ALTER TABLE … SET TABLESPACE pg_default), and drop them",
			strings.Join(spaces, ", "))
	}
	return nil
}

// slots says whether the server has room for the agent's slot, and who uses it.
func (c *checker) slots(ctx context.Context, conn *pgx.Conn, a *answer) (found []error, err error) {
	st, err := c.slot.look(ctx, conn)
	if err != nil {
		return nil, err
	}
	if st.active != 0 {
		found = append(found, fmt.Errorf("process %d of the server receives from replication slot %s already: let one agent alone work on a server", st.active, c.slot.name))
	}
	var used int
	if err := conn.QueryRow(ctx, "SELECT count(*) FROM pg_catalog.pg_replication_slots").Scan(&used); err != nil {
		return nil, fmt.Errorf("count replication slots: %w", err)
	}
	if !st.there && a.Slots > 0 && used >= a.Slots {
		found = append(found, fmt.Errorf("all %d replication slots are in use: ALTER SYSTEM SET max_replication_slots = %d, and restart the server", a.Slots, a.Slots+2))
	}
	return found, nil
}

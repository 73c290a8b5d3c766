package postgrescluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/fsx"
)

// leaver takes out of a server what is the agent's.
type leaver struct {
	process *process
	sync    *synced
	slots   []string
}

// Leave implements source.Leaver: the server keeps no log for an agent any more, and its
// commits wait for none. A server that does not run is seen to in its data folder.
func (s *Source) Leave(ctx context.Context) error {
	s.busy.Lock()
	defer s.busy.Unlock()
	l := &leaver{process: s.process, sync: s.sync, slots: []string{s.streamer.slot.name, s.streamer.backup.name}}
	return s.say("take what is the agent's out of the server of %s", l.leave(ctx))
}

func (l *leaver) leave(ctx context.Context) error {
	return l.process.within(func(_ fsx.Place, data *fsx.Dir) error {
		if data == nil {
			return nil
		}
		pid, err := runningIn(data)
		switch {
		case err != nil:
			return err
		case pid != 0:
			return l.running(ctx)
		}
		return l.stopped(ctx, data)
	})
}

// running has a server that runs forget the agent.
func (l *leaver) running(ctx context.Context) error {
	server := l.process.server
	return server.url.With(ctx, func(conn *pgx.Conn) error {
		a, err := server.ask(ctx, conn)
		if err == nil {
			err = server.isAt(&a) // another server's slots are somebody else's
		}
		if err == nil {
			err = l.sync.forget(ctx, conn)
		}
		if err != nil {
			return err
		}
		_, err = conn.Exec(ctx, "SELECT pg_catalog.pg_drop_replication_slot(slot_name) FROM pg_catalog.pg_replication_slots WHERE slot_name = ANY($1) AND slot_type = 'physical'", l.slots)
		return err
	})
}

// stopped does so where no server runs. A server takes the slots that its data folder
// has, and the copies that pg_basebackup makes have none.
func (l *leaver) stopped(ctx context.Context, data *fsx.Dir) error {
	self, err := data.Self()
	if err != nil {
		return err
	}
	if err := unarmed(data, l.sync.called, owner{int(self.Uid), int(self.Gid)}); err != nil {
		return err
	}
	all, err := data.OpenDir("pg_replslot")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer all.Close()
	for _, name := range l.slots {
		there, err := all.Exists(name)
		if err == nil && there {
			err = fsx.RemoveAll(ctx, all, name)
		}
		if err != nil {
			return fmt.Errorf("delete slot %s: %w", name, err)
		}
	}
	return all.Sync()
}

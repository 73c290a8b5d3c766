package postgrescluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/fsx"
)

// Leave implements source.Leaver: the server keeps no log for an agent any more, and its
// commits wait for none. A server that does not run is seen to in its data folder.
func (s *Source) Leave(ctx context.Context) error {
	s.busy.Lock()
	defer s.busy.Unlock()
	slots := []string{slotName(s.name, ""), slotName(s.name, "_backup")}
	return s.say("take what is the agent's out of the server of %s", s.process.within(func(_ fsx.Place, data *fsx.Dir) error {
		if data == nil {
			return nil
		}
		pid, err := runningIn(data)
		switch {
		case err != nil:
			return err
		case pid != 0:
			return s.leaveServer(ctx, slots)
		}
		return leaveFolder(ctx, data, slots)
	}))
}

// leaveServer has a server that runs forget the agent.
func (s *Source) leaveServer(ctx context.Context, slots []string) error {
	return s.server.url.With(ctx, func(conn *pgx.Conn) error {
		if err := s.sync.forget(ctx, conn); err != nil {
			return err
		}
		_, err := conn.Exec(ctx, "SELECT pg_catalog.pg_drop_replication_slot(slot_name) FROM pg_catalog.pg_replication_slots WHERE slot_name = ANY($1) AND slot_type = 'physical'", slots)
		return err
	})
}

// leaveFolder does so in a data folder on which no server runs. A server takes a folder of
// slots as it is, and the copies that pg_basebackup makes have none in it.
func leaveFolder(ctx context.Context, data *fsx.Dir, slots []string) error {
	self, err := data.Self()
	if err != nil {
		return err
	}
	if err := unarmed(data, slots[0], owner{int(self.Uid), int(self.Gid)}); err != nil {
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
	for _, name := range slots {
		if there, err := all.Exists(name); err != nil || !there {
			if err != nil {
				return err
			}
			continue
		}
		if err := fsx.RemoveAll(ctx, all, name); err != nil {
			return fmt.Errorf("delete slot %s: %w", name, err)
		}
	}
	return all.Sync()
}

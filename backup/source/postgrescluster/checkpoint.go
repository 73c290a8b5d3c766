package postgrescluster

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
)

// Checkpoint implements source.Checkpointer.
func (s *Source) Checkpoint(ctx context.Context) error {
	return s.say("have the servers of %s write what they hold", s.checkpoint(ctx))
}

func (s *Source) checkpoint(ctx context.Context) error {
	replica, err := s.connectReplica(ctx)
	if err != nil {
		return err
	}
	if replica != nil {
		defer func() { _ = replica.Close(context.WithoutCancel(ctx)) }() // nobody waits for it
		return checkpointOf(ctx, replica)
	}
	if pid, err := s.process.running(); err != nil || pid == 0 {
		return err
	}
	return s.server.with(ctx, func(conn *pgx.Conn) error {
		err := checkpointOf(ctx, conn)
		const denied = "42501"
		if pgclient.IsCode(err, denied) {
			err = fmt.Errorf("%w: run there as a superuser: GRANT pg_checkpoint TO %s", err, pgclient.Ident(s.server.url.User()))
		}
		return err
	})
}

func checkpointOf(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, "CHECKPOINT")
	return err
}

// connectReplica connects to the server that runs on the stage; nil: none does. What it is
// asked keeps nobody from feeding the stage.
func (s *Source) connectReplica(ctx context.Context) (conn *pgx.Conn, err error) {
	s.busy.Lock()
	defer s.busy.Unlock()
	err = s.follower.within(func(st *staged) error {
		if st == nil {
			return nil
		}
		if pid, err := runningIn(st.data); err != nil || pid == 0 {
			return err
		}
		conn, err = connectIn(ctx, st.data, st.note.Super)
		return err
	})
	return conn, err
}

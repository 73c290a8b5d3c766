package postgrescluster

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
)

// Checkpoint implements source.Checkpointer.
func (s *Source) Checkpoint(ctx context.Context) error {
	s.busy.Lock() // what the replica is asked then keeps nobody from feeding it
	replica, err := s.follower.connect(ctx)
	s.busy.Unlock()
	switch {
	case err != nil:
	case replica != nil:
		err = checkpointOf(ctx, replica)
		_ = replica.Close(context.WithoutCancel(ctx)) // nobody waits for it
	default:
		err = s.process.checkpoint(ctx)
	}
	return s.say("have the servers of %s write what they hold", err)
}

// checkpoint has the server write what it holds, if it runs.
func (p *process) checkpoint(ctx context.Context) error {
	if pid, err := p.running(); err != nil || pid == 0 {
		return err
	}
	err := p.server.with(ctx, func(conn *pgx.Conn) error { return checkpointOf(ctx, conn) })
	const denied = "42501"
	if pgclient.IsCode(err, denied) {
		err = fmt.Errorf("%w: run there as a superuser: GRANT pg_checkpoint TO %s", err, pgclient.Ident(p.server.url.User()))
	}
	return err
}

func checkpointOf(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, "CHECKPOINT")
	return err
}

// connect connects to the server that runs on the stage; nil: none does.
func (f *follower) connect(ctx context.Context) (conn *pgx.Conn, err error) {
	err = f.within(func(st *staged) error {
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

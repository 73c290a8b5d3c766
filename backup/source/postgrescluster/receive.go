package postgrescluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
	"github.com/understudy-ha/understudy/backup/source/postgrescluster/internal/wal"
)

// statusEvery is how often a server is told that somebody still receives: it cuts off
// whoever is silent for wal_sender_timeout, a minute.
const statusEvery = 10 * time.Second

// receiver receives a server's log from a position on.
type receiver struct {
	conn *pgconn.PgConn
	at   wal.LSN // behind what was received
	// confirmed is what the server is told; 0: nothing, so no slot moves.
	confirmed func() wal.LSN
	unread    *unread
	ctx       context.Context // of what is sent, which does not use it
	sending   sync.Mutex
	closed    bool      // guarded by sending
	due       time.Time // of the next status
	answered  time.Time // when the server last asked for one
	now       func() time.Time
}

// errStopping says that the server stops, and waits for what was not confirmed.
var errStopping = errors.New("the server is shutting down")

// receive begins to receive, on a connection that is the receiver's from now on. An empty
// slot is none.
func (p *primary) receive(ctx context.Context, conn *pgconn.PgConn, slot string, at wal.LSN, timeline uint32) (*receiver, error) {
	command := fmt.Sprintf("START_REPLICATION PHYSICAL %s TIMELINE %d", at, timeline)
	if slot != "" {
		command = fmt.Sprintf("START_REPLICATION SLOT %s PHYSICAL %s TIMELINE %d", slot, at, timeline)
	}
	if err := startCopy(ctx, conn, command); err != nil {
		_ = conn.Close(context.WithoutCancel(ctx)) // nobody waits for it
		return nil, fmt.Errorf("receive the log from %s on: %w", at, err)
	}
	r := &receiver{conn: conn, at: at, ctx: context.WithoutCancel(ctx), confirmed: func() wal.LSN { return 0 }, now: p.now, due: p.now().Add(statusEvery)}
	r.unread = newUnread(ctx, p.unread, p.stops, r.cut)
	return r, nil
}

// startCopy sends a command that the server answers by copying both ways.
func startCopy(ctx context.Context, conn *pgconn.PgConn, command string) error {
	conn.Frontend().SendQuery(&pgproto3.Query{String: command})
	if err := conn.Frontend().Flush(); err != nil {
		return err
	}
	for {
		m, err := conn.ReceiveMessage(ctx)
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *pgproto3.CopyBothResponse:
			return nil
		case *pgproto3.ErrorResponse:
			return pgconn.ErrorResponseToPgError(m)
		case *pgproto3.ReadyForQuery:
			return errors.New("the server sends no log")
		}
	}
}

// close ends it. It may be called beside send.
func (r *receiver) close(ctx context.Context) {
	r.unread.end()
	r.sending.Lock()
	defer r.sending.Unlock()
	r.closed = true
	_ = r.conn.Close(context.WithoutCancel(ctx)) // nobody waits for it
}

// drop implements feed.
func (r *receiver) drop() {
	r.unread.end()
	r.cut()
}

// cut ends the connection as a crash would: the server notices. It may be called beside all
// else.
func (r *receiver) cut() { _ = r.conn.Conn().Close() }

// reached implements feed.
func (r *receiver) reached() wal.LSN { return r.at }

// next waits for log, until a moment at the most; none came by then where it is empty.
// What it returns is valid until the next call.
func (r *receiver) next(ctx context.Context, until time.Time) ([]byte, error) {
	if err := r.unread.reads(); err != nil {
		return nil, err
	}
	defer r.unread.rests()
	for {
		if !r.now().Before(r.due) {
			if err := r.status(); err != nil {
				return nil, err
			}
		}
		deadline := r.due
		if !until.IsZero() && until.Before(deadline) {
			deadline = until
		}
		m, err := r.message(ctx, deadline)
		if err != nil {
			return nil, err
		}
		if m == nil {
			if !until.IsZero() && !r.now().Before(until) {
				return nil, nil
			}
			continue
		}
		if log, err := r.take(m); log != nil || err != nil {
			return log, err
		}
	}
}

// message is the next one; nil when none came in time. It reads past the connection's own
// way of receiving, which closes the connection beside send, and has one deadline for both.
func (r *receiver) message(ctx context.Context, deadline time.Time) (pgproto3.BackendMessage, error) {
	if err := r.conn.Conn().SetReadDeadline(deadline); err != nil {
		return nil, fmt.Errorf("receive the log: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = r.conn.Conn().SetReadDeadline(time.Unix(1, 0)) })() // or the connection is closed
	m, err := r.conn.Frontend().Receive()
	switch {
	case err == nil:
		return m, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, nil
	}
	return nil, fmt.Errorf("receive the log: %w", err)
}

// take returns the log in a message.
func (r *receiver) take(m pgproto3.BackendMessage) ([]byte, error) {
	switch m := m.(type) {
	case *pgproto3.ErrorResponse:
		return nil, fmt.Errorf("receive the log: %w", pgconn.ErrorResponseToPgError(m))
	case *pgproto3.CommandComplete, *pgproto3.CopyDone, *pgproto3.ReadyForQuery:
		return nil, fmt.Errorf("receive the log: %w", errStopping)
	case *pgproto3.CopyData:
		if len(m.Data) == 0 {
			return nil, nil
		}
		switch m.Data[0] {
		case pglogrepl.XLogDataByteID:
			return r.log(m.Data[1:])
		case pglogrepl.PrimaryKeepaliveMessageByteID:
			return nil, r.keepalive(m.Data[1:])
		}
	}
	return nil, nil
}

func (r *receiver) log(b []byte) ([]byte, error) {
	x, err := pglogrepl.ParseXLogData(b)
	if err != nil {
		return nil, err
	}
	if wal.LSN(x.WALStart) != r.at {
		return nil, fmt.Errorf("receive the log: the server sends %s, and not %s", x.WALStart, r.at)
	}
	r.at += wal.LSN(len(x.WALData))
	return x.WALData, nil
}

// soon is how quickly a server asks again only when it stops, and wants to have
// everything confirmed: else half of wal_sender_timeout lies between.
const soon = time.Second

func (r *receiver) keepalive(b []byte) error {
	k, err := pglogrepl.ParsePrimaryKeepaliveMessage(b)
	if err != nil || !k.ReplyRequested {
		return err
	}
	if !r.answered.IsZero() && r.now().Sub(r.answered) < soon {
		return errStopping
	}
	r.answered = r.now()
	return r.status()
}

// status tells the server what is confirmed, as is due from time to time.
func (r *receiver) status() error {
	r.due = r.now().Add(statusEvery)
	return r.send()
}

// sendTimeout is how long a server may take nothing before it is taken for gone.
const sendTimeout = 5 * time.Second

// send tells the server what is confirmed. Write, flush and apply are the same: a commit
// that waits for any of them waits for the bucket. It may be called beside next. A server
// that takes nothing for sendTimeout has its connection cut, which next notices.
func (r *receiver) send() error {
	r.sending.Lock()
	defer r.sending.Unlock()
	if r.closed {
		return errors.New("tell the server what is received: the connection is closed")
	}
	defer time.AfterFunc(sendTimeout, r.cut).Stop() // whoever writes is told
	at := pglogrepl.LSN(r.confirmed())
	if err := pglogrepl.SendStandbyStatusUpdate(r.ctx, r.conn, pglogrepl.StandbyStatusUpdate{
		WALWritePosition: at, WALFlushPosition: at, WALApplyPosition: at, ClientTime: r.now(),
	}); err != nil {
		return fmt.Errorf("tell the server what is received: %w", err)
	}
	return nil
}

// span reads the log up to a position, and no further.
type span struct {
	ctx  context.Context
	r    *receiver
	to   wal.LSN
	rest []byte
}

// Read implements io.Reader.
func (s *span) Read(p []byte) (int, error) {
	for len(s.rest) == 0 {
		if s.r.at >= s.to {
			return 0, io.EOF
		}
		log, err := s.r.next(s.ctx, time.Time{})
		if err != nil {
			return 0, err
		}
		s.rest = log[:len(log)-int(max(s.r.at, s.to)-s.to)]
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// isGone tells that a server does not have the log any more, or never had it. Versions
// say so in different ways.
func isGone(err error) bool {
	return pgclient.IsCode(err, "58P01") || pgclient.IsCode(err, "XX000")
}

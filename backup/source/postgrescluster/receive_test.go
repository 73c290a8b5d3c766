package postgrescluster

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/understudy-ha/understudy/backup/source/postgrescluster/internal/wal"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// receiverOn is a receiver on a connection to nobody in particular.
func receiverOn(t *testing.T, conn net.Conn) *receiver {
	t.Helper()
	cfg, err := pgconn.ParseConfig("postgres://user@localhost/db")
	sourcetest.Must(t, err)
	on, err := pgconn.Construct(&pgconn.HijackedConn{Conn: conn, Config: cfg})
	sourcetest.Must(t, err)
	never := newUnread(t.Context(), time.Hour, nil, nil)
	return &receiver{conn: on, ctx: t.Context(), confirmed: func() wal.LSN { return 7 }, unread: never, now: time.Now}
}

// A wait for log that ends just then does not keep the server from being told what is
// confirmed: commits may wait for it.
func TestTheServerIsToldThoughAWaitEndsJustThen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe() // which holds nothing: who writes waits
		defer theirs.Close()
		r := receiverOn(t, ours)
		told := make(chan error, 1)
		go func() { told <- r.send() }()
		if m, err := r.message(t.Context(), time.Now().Add(time.Second)); m != nil || err != nil {
			t.Errorf("%v, %v", m, err)
		}
		if n, err := theirs.Read(make([]byte, 1<<10)); n == 0 || err != nil {
			t.Errorf("the server was told %d bytes: %v", n, err)
		}
		if err := <-told; err != nil {
			t.Error(err)
		}
	})
}

// A connection that breaks while the server is told something is an error for both, and
// nothing else: neither touches what the other has.
func TestAConnectionThatBreaksMeetsBoth(t *testing.T) {
	t.Parallel()
	for range 20 {
		ours, theirs := net.Pipe()
		r := receiverOn(t, ours)
		done := make(chan error, 1)
		go func() {
			var err error
			for err == nil {
				err = r.send()
			}
			done <- err
		}()
		_, err := theirs.Read(make([]byte, 1<<10))
		sourcetest.Must(t, err)
		sourcetest.Must(t, theirs.Close())
		if m, err := r.message(t.Context(), time.Now().Add(time.Minute)); err == nil {
			t.Errorf("%v, and no error", m)
		}
		if err := <-done; err == nil {
			t.Error("no error")
		}
		r.close(t.Context())
	}
}

// A server that takes nothing does not keep its receiver for ever.
func TestAServerThatTakesNothingIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe() // which holds nothing
		defer theirs.Close()
		r, begun := receiverOn(t, ours), time.Now()
		if err := r.send(); err == nil || time.Since(begun) != sendTimeout {
			t.Errorf("%v, after %v", err, time.Since(begun))
		}
		if err := r.send(); err == nil {
			t.Error("it is told on, behind half a message")
		}
	})
}

package postgrescluster

import (
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/understudy-ha/understudy/backup/source/postgrescluster/internal/wal"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// busy is a connection, the first writes of which meet a deadline that ends a wait of a
// reader's.
type busy struct {
	net.Conn
	writes int
	late   int
}

func (b *busy) Write(p []byte) (int, error) {
	if b.writes++; b.writes <= b.late {
		return 0, os.ErrDeadlineExceeded
	}
	return b.Conn.Write(p)
}

// receiverOn is a receiver on a connection to nobody in particular.
func receiverOn(t *testing.T, conn net.Conn) *receiver {
	t.Helper()
	cfg, err := pgconn.ParseConfig("postgres://user@localhost/db")
	sourcetest.Must(t, err)
	on, err := pgconn.Construct(&pgconn.HijackedConn{Conn: conn, Config: cfg})
	sourcetest.Must(t, err)
	return &receiver{conn: on, ctx: t.Context(), confirmed: func() wal.LSN { return 7 }, now: time.Now}
}

// A wait for log that ends just then does not keep the server from being told what is
// confirmed: commits may wait for it.
func TestTheServerIsToldThoughAWaitEndsJustThen(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	conn := &busy{Conn: ours, late: 2}
	r := receiverOn(t, conn)
	told := make(chan int, 1)
	go func() {
		n, _ := theirs.Read(make([]byte, 1<<10))
		told <- n
	}()
	if err := r.send(); err != nil {
		t.Fatal(err)
	}
	if n := <-told; n == 0 || conn.writes != 3 {
		t.Errorf("the server was told %d bytes, at write %d", n, conn.writes)
	}
}

// A server that takes nothing does not keep its receiver for ever.
func TestAServerThatTakesNothingIsGivenUp(t *testing.T) {
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

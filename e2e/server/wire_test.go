package server

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// echo is a server that says what it is told, for one test.
func echo(t *testing.T) string {
	t.Helper()
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	t.Cleanup(group.Wait)
	t.Cleanup(func() { _ = l.Close() })
	group.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			group.Go(func() {
				_, _ = io.Copy(conn, conn) // ends with the connection, however that ends
				_ = conn.Close()
			})
		}
	})
	return l.Addr().String()
}

// call connects through a wire.
func call(t *testing.T, w *Wire) net.Conn {
	t.Helper()
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), "tcp", w.Address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// ask sends bytes and reads what comes back, up to as many, before within is
// over. (A wire closes both ways at once.)
func ask(t *testing.T, conn net.Conn, sent []byte, within time.Duration) []byte {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(within)); err != nil {
		t.Error(err)
	}
	var group sync.WaitGroup
	group.Go(func() { _, _ = conn.Write(sent) }) // what is broken is seen in what comes back
	got := make([]byte, len(sent))
	n, _ := io.ReadFull(conn, got)
	group.Wait()
	return got[:n]
}

// soon is when a healthy wire has answered long ago, and shortly when nothing
// more is to be expected.
const (
	soon    = 10 * time.Second
	shortly = 200 * time.Millisecond
)

func TestACutWireIsMendedAtItsOldAddress(t *testing.T) {
	w := NewWire(t, echo(t))
	before, conn := w.Address, call(t, w)
	w.Cut()
	if got := ask(t, conn, []byte("hello"), soon); len(got) != 0 {
		t.Errorf("%q came through a cut wire", got)
	}
	if c, err := new(net.Dialer).DialContext(t.Context(), "tcp", before); err == nil {
		_ = c.Close()
		t.Error("a cut wire took a connection")
	}
	w.Mend(t)
	if w.Address != before {
		t.Errorf("mended at %s instead of %s", w.Address, before)
	}
	if got := ask(t, call(t, w), []byte("hello"), soon); string(got) != "hello" {
		t.Errorf("%q came through a mended wire", got)
	}
}

func TestADroppingWireHasHolesUntilItIsHealed(t *testing.T) {
	w := NewWire(t, echo(t))
	w.Disturb(t, Trouble{Type: "drop", With: map[string]any{"percent": 50.0}})
	sent := bytes.Repeat([]byte("packet"), 20*packet)
	if got := ask(t, call(t, w), sent, shortly); len(got) == 0 || len(got) >= len(sent) {
		t.Errorf("%d bytes of %d came through", len(got), len(sent))
	}
	w.Heal(t)
	if got := ask(t, call(t, w), sent, soon); !bytes.Equal(got, sent) {
		t.Errorf("%d bytes of %d came through a healed wire, or not as they were sent", len(got), len(sent))
	}
}

func TestANarrowWireIsOneForAllConnections(t *testing.T) {
	w := NewWire(t, echo(t))
	const rate, size = 200_000, 30_000
	w.Disturb(t, Trouble{Type: "narrow", Up: true, With: map[string]any{"rate": rate}})
	began := time.Now()
	var group sync.WaitGroup
	for range 3 {
		conn := call(t, w)
		group.Go(func() {
			if got := ask(t, conn, make([]byte, size), soon); len(got) != size {
				t.Errorf("%d bytes of %d came through", len(got), size)
			}
		})
	}
	group.Wait()
	if took, least := time.Since(began), time.Duration(3*size)*time.Second/rate; took < least*9/10 {
		t.Errorf("%d bytes took %v, want %v at least", 3*size, took, least)
	}
}

func TestASilentWireEndsItsConnectionsWhenHealed(t *testing.T) {
	w := NewWire(t, echo(t))
	w.Disturb(t, Trouble{Type: "timeout", With: map[string]any{"timeout": 0}})
	conn := call(t, w)
	if got := ask(t, conn, []byte("hello"), shortly); len(got) != 0 {
		t.Errorf("%q came through a silent wire", got)
	}
	w.Heal(t)
	if err := conn.SetReadDeadline(time.Now().Add(soon)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection lives on, with a hole: %v", err)
	}
	if got := ask(t, call(t, w), []byte("hello"), soon); string(got) != "hello" {
		t.Errorf("%q came through a healed wire", got)
	}
}

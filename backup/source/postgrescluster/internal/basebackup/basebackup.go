// Package basebackup has a PostgreSQL server send its data folder, as it is while the
// server works: BASE_BACKUP of the replication protocol, of version 15 and later. What it
// sends is put right by the log between the start and the stop.
package basebackup

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/understudy-ha/understudy/backup/source/postgrescluster/internal/wal"
)

// Result is what the server says around the files.
type Result struct {
	Start, Stop wal.LSN // the files need the log between the two
	Timeline    uint32
	// Damage is what the server found wrong with the checksums of pages: it has sent
	// them all the same.
	Damage error
}

// Options are those of the server's command.
type Options struct {
	Label string
	// Fast has the server make its checkpoint at once, however much that costs it.
	Fast bool
}

// checksums is the SQLSTATE of pages whose checksum is wrong.
const checksums = "XX001"

// Run takes a backup on a replication connection, which is not used by anybody else
// meanwhile, and is closed when it fails. file is called for each thing in the data
// folder, in the order in which the server sends them, and need not read its content.
func Run(ctx context.Context, conn *pgconn.PgConn, o Options, file func(h *tar.Header, content io.Reader) error) (r Result, err error) {
	checkpoint := "spread"
	if o.Fast {
		checkpoint = "fast"
	}
	command := fmt.Sprintf("BASE_BACKUP (LABEL '%s', CHECKPOINT '%s', WAIT false, MANIFEST 'no')", o.Label, checkpoint)
	conn.Frontend().SendQuery(&pgproto3.Query{String: command})
	if err := conn.Frontend().Flush(); err != nil {
		return r, fmt.Errorf("ask for a base backup: %w", err)
	}
	t := &taking{file: file, result: &r}
	defer func() {
		t.cut(err)
		if err != nil {
			_ = conn.Close(context.WithoutCancel(ctx)) // the server would go on sending
		}
	}()
	for {
		m, err := conn.ReceiveMessage(ctx)
		if err != nil {
			return r, fmt.Errorf("receive the base backup: %w", err)
		}
		if done, err := t.take(m); done || err != nil {
			return r, err
		}
	}
}

// taking is one backup, under way.
type taking struct {
	file    func(h *tar.Header, content io.Reader) error
	result  *Result
	answers int // of rows that began
	tar     *io.PipeWriter
	read    chan error // how the reading of the archive ended
	refused error
}

// take does what a message says, and reports whether it was the last one.
func (t *taking) take(m pgproto3.BackendMessage) (done bool, err error) {
	switch m := m.(type) {
	case *pgproto3.RowDescription:
		t.answers++
	case *pgproto3.DataRow:
		return false, t.row(m.Values)
	case *pgproto3.CopyData:
		return false, t.data(m.Data)
	case *pgproto3.CopyDone:
		return false, t.endArchive()
	case *pgproto3.ErrorResponse:
		t.refused = pgconn.ErrorResponseToPgError(m)
	case *pgproto3.ReadyForQuery:
		return true, t.finish()
	}
	return false, nil
}

// finish tells what an error of the server's means: behind the stop it is of checksums.
func (t *taking) finish() error {
	var refused *pgconn.PgError
	if errors.As(t.refused, &refused) && refused.Code == checksums && t.result.Stop != 0 {
		t.result.Damage = t.refused
		return nil
	}
	if t.refused != nil {
		return fmt.Errorf("base backup: %w", t.refused)
	}
	if t.result.Stop == 0 {
		return errors.New("base backup: the server has not said where it ends")
	}
	return nil
}

// row is one of an answer: the start, the tablespaces, the stop.
func (t *taking) row(values [][]byte) error {
	const start, spaces = 1, 2
	if t.answers == spaces {
		if len(values) > 1 && values[1] != nil {
			return fmt.Errorf("the server has a tablespace outside of its data folder, at %s", values[1])
		}
		return nil
	}
	if len(values) < 2 {
		return errors.New("base backup: the server does not say where it is")
	}
	at, err := wal.Parse(string(values[0]))
	if err != nil {
		return err
	}
	if t.answers != start {
		t.result.Stop = at
		return nil
	}
	timeline, err := strconv.ParseUint(string(values[1]), 10, 32)
	t.result.Start, t.result.Timeline = at, uint32(timeline)
	return err
}

// data is a piece of the copy: its first byte says what of.
func (t *taking) data(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	switch b[0] {
	case 'n':
		name, _, _ := bytes.Cut(b[1:], []byte{0})
		if err := t.endArchive(); err != nil {
			return err
		}
		if string(name) != "base.tar" {
			return fmt.Errorf("the server sends a tablespace, %s, outside of its data folder", name)
		}
		t.begin()
	case 'd':
		if t.tar == nil {
			return errors.New("base backup: the server sends content before it has named an archive")
		}
		_, err := t.tar.Write(b[1:])
		return err // is the reader's
	}
	return nil
}

// begin reads an archive, as it comes.
func (t *taking) begin() {
	from, to := io.Pipe()
	t.tar, t.read = to, make(chan error, 1)
	go func() {
		err := t.readAll(from)
		from.CloseWithError(err) // nil: what is behind the archive's end is dropped by then
		t.read <- err
		close(t.read)
	}()
}

func (t *taking) readAll(from io.Reader) error {
	archive := tar.NewReader(from)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			_, err = io.Copy(io.Discard, from)
			return err
		}
		if err != nil {
			return err
		}
		if err := t.file(h, archive); err != nil {
			return err
		}
	}
}

func (t *taking) endArchive() error {
	if t.tar == nil {
		return nil
	}
	_ = t.tar.Close() // never fails
	t.tar = nil
	return <-t.read
}

var errCut = errors.New("the base backup was cut off")

// cut lets the reader of an archive end that is still under way.
func (t *taking) cut(err error) {
	if t.tar == nil {
		return
	}
	if err == nil {
		err = errCut
	}
	_ = t.tar.CloseWithError(err)
	t.tar = nil
	for range t.read { // it ends by what cut the archive off
	}
}

package postgrescluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source/postgrescluster/internal/wal"
)

// control is what a data folder's file pg_control begins with, in every version that is
// supported.
type control struct {
	System   uint64
	Version  uint32 // of the file's format
	Catalog  uint32
	State    uint32
	Redo     wal.LSN // where the server begins to replay
	Timeline uint32  // of the last checkpoint
	Segment  uint64  // size of one of the log
}

// States of a server, as pg_control has them.
const (
	stateShutDown           = 1
	stateShutDownInRecovery = 2
	stateInArchiveRecovery  = 5
)

// recovering tells that the server did nothing but replay log when it was last seen.
func (c *control) recovering() bool {
	return c.State == stateShutDownInRecovery || c.State == stateInArchiveRecovery
}

// readControl reads it in a held data folder.
func readControl(data *fsx.Dir) (c control, err error) {
	f, err := fsx.Below(data.FD(), data.Path(), "global/pg_control")
	if err != nil {
		return c, err
	}
	defer f.Close()
	if len(f.Missing) > 0 {
		return c, &fs.PathError{Op: "read", Path: f.Path(), Err: fs.ErrNotExist}
	}
	file, err := f.Dir.Open(f.Name, unix.O_RDONLY)
	if err != nil {
		return c, err
	}
	defer file.Close()
	const redo, timeline = 40, 48
	var b [timeline + 4]byte
	if _, err := io.ReadFull(file, b[:]); err != nil {
		return c, fmt.Errorf("read %s: %w", f.Path(), err)
	}
	order := binary.NativeEndian
	c = control{
		System: order.Uint64(b[0:]), Version: order.Uint32(b[8:]), Catalog: order.Uint32(b[12:]),
		State: order.Uint32(b[16:]), Redo: wal.LSN(order.Uint64(b[redo:])), Timeline: order.Uint32(b[timeline:]),
	}
	c.Segment, err = segmentSize(data)
	return c, err
}

// segmentSize is the size of the files in which a data folder has its log.
func segmentSize(data *fsx.Dir) (size uint64, err error) {
	err = inLog(data, func(logs *fsx.Dir) error {
		names, err := logs.Names()
		if err != nil {
			return err
		}
		for _, name := range names {
			st, err := logs.Stat(name)
			if err != nil {
				return err
			}
			const segmentName = 24
			if len(name) == segmentName && st.Mode&unix.S_IFMT == unix.S_IFREG {
				size = uint64(st.Size)
				return nil
			}
		}
		return errors.New("pg_wal holds no log")
	})
	return size, err
}

// controlAt reads it at a place; none is there where it is nil.
func controlAt(at fsx.Place) (*control, error) {
	if len(at.Missing) > 0 {
		return nil, nil
	}
	d, err := at.Dir.OpenDir(at.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer d.Close()
	c, err := readControl(d)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return &c, err
}

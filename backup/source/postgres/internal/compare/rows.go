package compare

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/understudy-ha/understudy/backup/source"
)

// rowTables numbers the tables of two dumps.
type rowTables struct {
	names   []string
	numbers map[string]uint32
}

func newRowTables() *rowTables { return &rowTables{numbers: map[string]uint32{}} }

func (t *rowTables) number(name string) uint32 {
	n, ok := t.numbers[name]
	if !ok {
		n = uint32(len(t.names))
		t.names, t.numbers[name] = append(t.names, name), n
	}
	return n
}

// rowRecord is a row as it is compared: its table's number and a digest.
type rowRecord [4 + 16]byte

// rowBagParts is into how many files a bag is split: one of each of two bags
// is in memory at a time.
const rowBagParts = 256

// rowBag is a multiset of rows, on disk: equal rows are in files of the same
// number.
type rowBag struct {
	parts   [rowBagParts]*os.File
	writers [rowBagParts]*bufio.Writer
}

func newRowBag(dir string) (*rowBag, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	b := new(rowBag)
	for i := range b.parts {
		f, err := os.Create(filepath.Join(dir, fmt.Sprint(i)))
		if err != nil {
			return nil, errors.Join(err, b.close())
		}
		b.parts[i], b.writers[i] = f, bufio.NewWriterSize(f, 8<<10)
	}
	return b, nil
}

// add adds a row by its digest, of which the first 16 bytes count.
func (b *rowBag) add(table uint32, digest []byte) error {
	var r rowRecord
	binary.LittleEndian.PutUint32(r[:4], table)
	copy(r[4:], digest)
	_, err := b.writers[r[4]].Write(r[:])
	return err
}

// close writes what is left.
func (b *rowBag) close() error {
	var errs []error
	for i, f := range b.parts {
		if f != nil {
			errs = append(errs, b.writers[i].Flush(), f.Close())
		}
	}
	return errors.Join(errs...)
}

// read returns one part's rows, in order.
func (b *rowBag) read(part int) ([]rowRecord, error) {
	text, err := os.ReadFile(b.parts[part].Name())
	if err != nil {
		return nil, err
	}
	rows := make([]rowRecord, len(text)/len(rowRecord{}))
	for i := range rows {
		copy(rows[i][:], text[i*len(rowRecord{}):])
	}
	slices.SortFunc(rows, compareRows)
	return rows, nil
}

func compareRows(x, y rowRecord) int { return bytes.Compare(x[:], y[:]) }

// compareBags returns the tables that differ, by name.
func compareBags(ctx context.Context, tables *rowTables, a, b *rowBag) ([]source.TableDifference, error) {
	all := make([]source.TableDifference, len(tables.names))
	for i, name := range tables.names {
		all[i].Name = name
	}
	for part := range rowBagParts {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		inA, err := a.read(part)
		if err != nil {
			return nil, err
		}
		inB, err := b.read(part)
		if err != nil {
			return nil, err
		}
		countRows(all, inA, inB)
	}
	all = slices.DeleteFunc(all, func(t source.TableDifference) bool { return !t.Differs() })
	slices.SortFunc(all, func(x, y source.TableDifference) int { return strings.Compare(x.Name, y.Name) })
	return all, nil
}

// countRows merges two sorted lists.
func countRows(all []source.TableDifference, a, b []rowRecord) {
	for len(a) > 0 || len(b) > 0 {
		var order int
		switch {
		case len(b) == 0:
			order = -1
		case len(a) == 0:
			order = 1
		default:
			order = compareRows(a[0], b[0])
		}
		var t *source.TableDifference
		if order <= 0 {
			t = &all[binary.LittleEndian.Uint32(a[0][:4])]
			t.RowsA++
			a = a[1:]
		}
		if order >= 0 {
			t = &all[binary.LittleEndian.Uint32(b[0][:4])]
			t.RowsB++
			b = b[1:]
		}
		switch {
		case order < 0:
			t.OnlyA++
		case order > 0:
			t.OnlyB++
		}
	}
}

package sample

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Findings is what check prints. Serials that are missing between the first
// and the last are problems; serials of the ledger that are not in the table
// are counted apart, because a failover may lose them.
type Findings struct {
	OK       bool     `json:"ok"`
	Rows     int64    `json:"rows"`
	First    int64    `json:"first"`
	Last     int64    `json:"last"`
	Files    int64    `json:"files"`       // in the upload folder
	Extra    int64    `json:"extra_files"` // of which no row tells: commits under way
	Problems []string `json:"problems"`    // the first hundred
	Ledger   *Lost    `json:"ledger,omitempty"`
}

// Lost compares a ledger with the table.
type Lost struct {
	Acknowledged int64 `json:"acknowledged"`
	Missing      int64 `json:"missing"`
	FirstMissing int64 `json:"first_missing,omitempty"`
	LastMissing  int64 `json:"last_missing,omitempty"`
}

const maxProblems = 100

func (f *Findings) problem(format string, args ...any) {
	if len(f.Problems) < maxProblems {
		f.Problems = append(f.Problems, fmt.Sprintf(format, args...))
	}
}

// check verifies every payload, that every row's file is there with the same
// bytes, that no serial is missing, and, against a ledger, what was lost. Only
// damage is an error: a loss after a failover is a number in the findings.
func check(ctx context.Context, c config, out io.Writer) error {
	f, err := inspect(ctx, c)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	if err := enc.Encode(f); err != nil {
		return fmt.Errorf("print findings: %w", err)
	}
	if !f.OK {
		return ErrDamaged
	}
	return nil
}

func inspect(ctx context.Context, c config) (Findings, error) {
	f := Findings{Problems: []string{}}
	// The ledger first: what the application commits meanwhile is no loss.
	entries, err := readLedger(c.ledger)
	if err != nil {
		return f, err
	}
	t, err := openTable(ctx, c, false)
	if err != nil {
		return f, err
	}
	sums := map[int64]string{}
	err = t.each(ctx, func(r row) error {
		f.row(c, r)
		sums[r.serial] = r.sum
		return nil
	})
	if err := errors.Join(err, t.close()); err != nil {
		return f, err
	}
	if c.files {
		if err := f.countFiles(c.uploads(), sums); err != nil {
			return f, err
		}
	}
	if c.ledger != "" {
		f.Ledger = compare(entries, sums)
	}
	f.OK = len(f.Problems) == 0
	return f, nil
}

func (f *Findings) row(c config, r row) {
	if f.Rows == 0 {
		f.First = r.serial
	} else if r.serial != f.Last+1 {
		f.problem("serials %d to %d are missing", f.Last+1, r.serial-1)
	}
	f.Rows, f.Last = f.Rows+1, r.serial
	if digest(r.payload) != r.sum {
		f.problem("entry %d: payload does not match its digest", r.serial)
	}
	if !c.files {
		return
	}
	content, err := os.ReadFile(uploads(c.uploads()).path(r.serial))
	switch {
	case err != nil:
		f.problem("entry %d: %v", r.serial, err)
	case !bytes.Equal(content, r.payload):
		f.problem("entry %d: its file has other bytes", r.serial)
	}
}

func (f *Findings) countFiles(dir string, sums map[int64]string) error {
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f.Files++
		serial, err := strconv.ParseInt(strings.TrimSuffix(d.Name(), ".bin"), 10, 64)
		if _, known := sums[serial]; err != nil || !known {
			f.Extra++
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("count uploads: %w", err)
	}
	return nil
}

// compare counts the acknowledged commits that the table does not hold. A
// serial with another digest is another commit, made by a successor that did
// not have this one.
func compare(entries []entry, sums map[int64]string) *Lost {
	l := &Lost{Acknowledged: int64(len(entries))}
	for _, e := range entries {
		if sums[e.serial] == e.sum {
			continue
		}
		l.Missing++
		if l.FirstMissing == 0 {
			l.FirstMissing = e.serial
		}
		l.LastMissing = e.serial
	}
	return l
}

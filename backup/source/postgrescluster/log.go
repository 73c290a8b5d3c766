package postgrescluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source/internal/chunks"
	"github.com/understudy-ha/understudy/backup/source/postgrescluster/internal/wal"
)

// The log of a backup is a list of pieces, a line of JSON each. Each backup adds what was
// written since the one before, and reads nothing again.

// piece is a part of a log: a stream of its own.
type piece struct {
	From    wal.LSN     `json:"from"`
	Content pack.Stream `json:"content"`
}

func (p piece) to() wal.LSN { return p.From + wal.LSN(p.Content.Size) }

// maxPiece bounds a piece: it is what is stored again at a time.
const maxPiece = 64 << 20

// pieces reads the list of a log.
func pieces(ctx context.Context, r chunks.Reader, list pack.Stream) iter.Seq2[piece, error] {
	return func(yield func(piece, error) bool) {
		content := r.Open(ctx, list)
		defer content.Close()
		for d, next := json.NewDecoder(content), wal.LSN(0); ; {
			var p piece
			err := d.Decode(&p)
			if errors.Is(err, io.EOF) {
				return
			}
			if err == nil && next != 0 && p.From != next {
				err = fmt.Errorf("the log of the backup has a gap: %s is followed by %s", next, p.From)
			}
			if err != nil {
				yield(piece{}, fmt.Errorf("read the list of the log: %w", err))
				return
			}
			if next = p.to(); !yield(p, nil) {
				return
			}
		}
	}
}

// writeLog stores the list of a log: that of the backup before, and what is new.
func writeLog(ctx context.Context, w chunks.Writer, r chunks.Reader, before *pack.Stream, added []piece) (pack.Stream, error) {
	return writeList(ctx, w, func(to io.Writer) error {
		e := json.NewEncoder(to)
		if before != nil {
			for p, err := range pieces(ctx, r, *before) {
				if err == nil {
					p.Content, err = keep(ctx, w, r, p.Content)
				}
				if err == nil {
					err = e.Encode(p)
				}
				if err != nil {
					return err
				}
			}
		}
		for _, p := range added {
			if err := e.Encode(p); err != nil {
				return err
			}
		}
		return nil
	})
}

// storeLog stores log from a position on as pieces, up to the end of what is read.
func storeLog(ctx context.Context, w chunks.Writer, from wal.LSN, log io.Reader) ([]piece, error) {
	var all []piece
	for {
		content, err := w.Write(ctx, io.LimitReader(log, maxPiece), pack.Files)
		if err != nil {
			return nil, err
		}
		if content.Size > 0 {
			all = append(all, piece{From: from, Content: content})
			from += wal.LSN(content.Size)
		}
		if content.Size < maxPiece {
			return all, nil
		}
	}
}

// copyLog writes the log of a backup from a position on to somebody, piece by piece.
func copyLog(ctx context.Context, r chunks.Reader, list pack.Stream, from wal.LSN, write func(at wal.LSN, log []byte) error) (wal.LSN, error) {
	end := from
	for p, err := range pieces(ctx, r, list) {
		if err != nil {
			return end, err
		}
		if p.to() <= from {
			continue
		}
		if p.From > end {
			return end, fmt.Errorf("the log of the backup begins at %s, behind %s", p.From, end)
		}
		if err := copyPiece(ctx, r, p, from, write); err != nil {
			return end, err
		}
		end = p.to()
	}
	return end, nil
}

func copyPiece(ctx context.Context, r chunks.Reader, p piece, from wal.LSN, write func(at wal.LSN, log []byte) error) error {
	content := r.Open(ctx, p.Content)
	defer content.Close()
	buf := make([]byte, 256<<10)
	for at := p.From; at < p.to(); {
		n, err := io.ReadFull(content, buf[:min(len(buf), int(p.to()-at))])
		if err != nil {
			return fmt.Errorf("read the log at %s: %w", at, err)
		}
		skip := min(n, int(max(from, at)-at))
		if skip < n {
			if err := write(at+wal.LSN(skip), buf[skip:n]); err != nil {
				return err
			}
		}
		at += wal.LSN(n)
	}
	return nil
}

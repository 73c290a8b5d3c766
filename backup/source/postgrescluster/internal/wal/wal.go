// Package wal is what is in PostgreSQL's write-ahead log, as far as it must be known to
// keep it in segments, and to tell where the last record ends that is whole. It asks no
// server.
package wal

import (
	"encoding/binary"
	"fmt"

	"github.com/jackc/pglogrepl"
)

// LSN is a position in the log. (Text form: PostgreSQL's, 16/B374D848.)
type LSN uint64

// Parse reads the text form.
func Parse(text string) (LSN, error) {
	at, err := pglogrepl.ParseLSN(text)
	if err != nil {
		return 0, fmt.Errorf("read log position %q: %w", text, err)
	}
	return LSN(at), nil
}

// String is the text form.
func (l LSN) String() string { return pglogrepl.LSN(l).String() }

// MarshalText returns the text form.
func (l LSN) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads the text form.
func (l *LSN) UnmarshalText(text []byte) (err error) {
	*l, err = Parse(string(text))
	return err
}

// PageSize is that of a page of the log. A server that was built with another one is
// not supported.
const PageSize = 8192

// Segment names the file that a position lies in, on a timeline.
func Segment(timeline uint32, at LSN, size uint64) string {
	each := uint64(1<<32) / size
	number := uint64(at) / size
	return fmt.Sprintf("%08X%08X%08X", timeline, number/each, number%each)
}

// Start is where the segment of a position begins.
func Start(at LSN, size uint64) LSN { return at - at%LSN(size) }

// HistoryFile names the file that says where a timeline comes from.
func HistoryFile(timeline uint32) string { return fmt.Sprintf("%08X.history", timeline) }

// Flags of a page.
const (
	continues  = 0x0001 // the page begins with the rest of a record
	longHeader = 0x0002
	overwrites = 0x0008 // a record that was begun before the page never ends
)

// Sizes of headers.
const (
	shortPage = 24
	longPage  = 40
	record    = 24
)

// page is what the header of a page says.
type page struct {
	flags  uint16
	at     LSN
	rest   uint32 // of a record that was begun before
	header int
}

func readPage(b []byte) page {
	p := page{
		flags: binary.LittleEndian.Uint16(b[2:]), at: LSN(binary.LittleEndian.Uint64(b[8:])),
		rest: binary.LittleEndian.Uint32(b[16:]), header: shortPage,
	}
	if p.flags&longHeader != 0 {
		p.header = longPage
	}
	return p
}

// IsPage reports whether what is read at a position where a page begins is that page, and not
// what was in its place before.
func IsPage(b []byte, at LSN) bool { return len(b) >= shortPage && readPage(b).at == at }

// Record is where a record begins, and where the next one may.
type Record struct{ Start, End LSN }

// Last finds the last record that is whole in a piece of log, which begins at a
// position at the start of a page. It is zero where no record begins in the piece, or
// none of these is whole: then a longer piece tells.
func Last(log []byte, at LSN, size uint64) Record {
	w := &walk{log: log, from: at, size: size}
	w.next = w.first()
	var last Record
	for w.next != 0 {
		r, ok := w.step()
		if !ok {
			break
		}
		last = r
	}
	return last
}

// walk goes from record to record.
type walk struct {
	log  []byte
	from LSN
	size uint64
	next LSN // where a record may begin; 0: nowhere
}

// end is where the log ends.
func (w *walk) end() LSN { return w.from + LSN(len(w.log)) }

// page is the header of the page that begins at a position, if it is there and that page's.
func (w *walk) page(at LSN) (page, bool) {
	if at < w.from || at+shortPage > w.end() {
		return page{}, false
	}
	p := readPage(w.log[at-w.from:])
	return p, p.at == at && at+LSN(p.header) <= w.end()
}

// first is where the first record begins.
func (w *walk) first() LSN {
	for at := w.from; ; at += PageSize {
		p, ok := w.page(at)
		if !ok {
			return 0
		}
		rest := LSN(p.rest)
		if p.flags&continues == 0 {
			rest = 0
		}
		if begin := at + LSN(p.header) + align(rest); begin < at+PageSize {
			return begin
		}
	}
}

// step reads the record at next, if it is whole.
func (w *walk) step() (Record, bool) {
	for {
		at := w.next
		if at%PageSize == 0 {
			p, ok := w.page(at)
			if !ok {
				return Record{}, false
			}
			at += LSN(p.header)
		}
		if at+4 > w.end() {
			return Record{}, false
		}
		total := binary.LittleEndian.Uint32(w.log[at-w.from:])
		if total < record {
			return Record{}, false
		}
		end, instead, ok := w.pass(at, int(total))
		if ok {
			end = align(end)
			if w.switches(at) {
				end = Start(end-1, w.size) + LSN(w.size)
			}
			w.next = end
			return Record{Start: at, End: end}, true
		}
		if instead == 0 {
			return Record{}, false
		}
		w.next = instead
	}
}

// pass goes over a number of bytes of a record, from page to page. Where the record was
// left unfinished, it returns where the next one begins.
func (w *walk) pass(at LSN, bytes int) (end, instead LSN, ok bool) {
	for {
		here := int(PageSize - at%PageSize)
		if bytes <= here {
			end = at + LSN(bytes)
			return end, 0, end <= w.end()
		}
		bytes -= here
		at += LSN(here)
		p, there := w.page(at)
		if !there {
			return 0, 0, false
		}
		if p.flags&overwrites != 0 {
			return 0, at + LSN(p.header), false
		}
		if p.flags&continues == 0 {
			return 0, 0, false
		}
		at += LSN(p.header)
	}
}

// switches tells whether the record at a position is the one with which a segment ends
// before it is full.
func (w *walk) switches(at LSN) bool {
	var b [2]byte
	for i, off := range []LSN{info, manager} {
		to, _, ok := w.pass(at, int(off)+1)
		if !ok {
			return false
		}
		b[i] = w.log[to-1-w.from]
	}
	return b[1] == ofLog && b[0]&0xF0 == switches
}

func align(n LSN) LSN { return (n + 7) &^ 7 }

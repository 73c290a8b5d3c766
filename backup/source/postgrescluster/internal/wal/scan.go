package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"
)

// Scanner goes through a log as it comes, record by record, and holds each to what a server
// holds it to when it replays: its checksum, its link to the record before, and the headers
// of its pages. So it ends where a server would.
type Scanner struct {
	size  uint64
	at    LSN // of the next byte
	head  []byte
	body  []byte
	start LSN // of the record in body
	prev  LSN // where the record before begins; 0: not known
	skip  LSN // nothing is read before this position
	drop  int // bytes of a record that was begun before the log
	begun bool
	blank bool // nothing was written from start on
	tell  func(Commit) bool
	err   error
}

// Commit is the record of a commit.
type Commit struct {
	Record
	Time time.Time // by the server's clock, when it was about to be written
}

// NewScanner makes a Scanner of a log in segments of a size, from a position on where a
// page begins. tell is told of each commit, and ends the scan by false.
func NewScanner(from LSN, size uint64, tell func(Commit) bool) *Scanner {
	return &Scanner{size: size, at: from, tell: tell}
}

// ErrTold says that a scan was ended by whoever was told of commits.
var ErrTold = errors.New("the scan was ended")

// Scan goes through the log that follows. Its error is the last word: ErrTold, or why
// a server would not go on.
func (s *Scanner) Scan(log []byte) error {
	for len(log) > 0 && s.err == nil {
		n, err := s.take(log)
		log, s.at, s.err = log[n:], s.at+LSN(n), err
	}
	return s.err
}

// End is the end of the last whole record, where the next one begins.
func (s *Scanner) End() LSN {
	if len(s.body) > 0 {
		return s.start
	}
	return max(s.at, s.skip)
}

// take reads some bytes.
func (s *Scanner) take(log []byte) (int, error) {
	switch {
	case s.blank:
		return len(log), s.stillBlank(log)
	case s.at < s.skip:
		return min(len(log), int(s.skip-s.at)), nil
	case s.at%PageSize == 0 || len(s.head) > 0:
		return s.page(log)
	}
	here := min(len(log), int(PageSize-s.at%PageSize))
	if s.drop > 0 {
		n := min(here, s.drop)
		if s.drop -= n; s.drop == 0 {
			s.skip = align(s.at + LSN(n))
		}
		return n, nil
	}
	if len(s.body) == 0 {
		s.start = s.at
	}
	n := min(here, s.lacks())
	s.body = append(s.body, log[:n]...)
	return n, s.record(s.at + LSN(n))
}

// stillBlank refuses log behind an end.
func (s *Scanner) stillBlank(log []byte) error {
	for _, b := range log {
		if b != 0 {
			return fmt.Errorf("there is no record at %s", s.start)
		}
	}
	return nil
}

// page reads the header of a page.
func (s *Scanner) page(log []byte) (int, error) {
	want := shortPage
	if uint64(s.at-LSN(len(s.head)))%s.size == 0 {
		want = longPage
	}
	n := min(len(log), want-len(s.head))
	if s.head = append(s.head, log[:n]...); len(s.head) < want {
		return n, nil
	}
	p, begin := readPage(s.head), s.at+LSN(n)-LSN(want)
	first := !s.begun
	s.head, s.begun = s.head[:0], true
	left := len(s.body) > 0
	switch {
	case p.at != begin || p.header != want:
		return n, fmt.Errorf("there is no page of the log at %s", begin)
	case left && p.flags&overwrites != 0: // the server crashed within the record
		s.body = s.body[:0]
	case left && (p.flags&continues == 0 || int(p.rest) != total(s.body)-len(s.body)):
		return n, fmt.Errorf("the record at %s breaks off at %s", s.start, begin)
	case p.flags&continues != 0 && first:
		s.drop = int(p.rest)
	case p.flags&continues != 0 && !left && s.drop == 0:
		return n, fmt.Errorf("the page at %s goes on with a record that nothing begins", begin)
	}
	return n, nil
}

// lacks is how much of a record is to be read next.
func (s *Scanner) lacks() int {
	if len(s.body) < record {
		return record - len(s.body)
	}
	return total(s.body) - len(s.body)
}

func total(body []byte) int {
	if len(body) < 4 {
		return 0
	}
	return int(binary.LittleEndian.Uint32(body))
}

// maxRecord is longer than a record can be.
const maxRecord = 1 << 30

// record takes in the record, once it is whole.
func (s *Scanner) record(end LSN) error {
	if len(s.body) < record {
		return nil
	}
	size := total(s.body)
	switch {
	case size == 0: // nothing was written there yet
		s.blank = true
		return s.stillBlank(s.body)
	case size < record || size > maxRecord:
		return fmt.Errorf("there is no record at %s", s.start)
	case len(s.body) < size:
		return nil
	}
	if err := s.sound(); err != nil {
		return err
	}
	end = align(end)
	if s.body[manager] == ofLog && s.body[info]&0xF0 == switches {
		end = Start(end-1, s.size) + LSN(s.size)
	}
	at, is := commitTime(s.body)
	s.prev, s.skip, s.body = s.start, end, s.body[:0]
	if is && !s.tell(Commit{Record: Record{Start: s.start, End: end}, Time: at}) {
		return ErrTold
	}
	return nil
}

// In the header of a record.
const (
	prevLink = 8
	info     = 16
	manager  = 17
	checksum = 20

	ofLog, ofTransactions = 0, 1 // managers
	switches              = 0x40 // a segment ends before it is full
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sound checks a whole record.
func (s *Scanner) sound() error {
	prev := LSN(binary.LittleEndian.Uint64(s.body[prevLink:]))
	if s.prev != 0 && prev != s.prev {
		return fmt.Errorf("the record at %s follows the one at %s, and not that at %s", s.start, prev, s.prev)
	}
	sum := crc32.Update(crc32.Checksum(s.body[record:], castagnoli), castagnoli, s.body[:checksum])
	if sum != binary.LittleEndian.Uint32(s.body[checksum:]) {
		return fmt.Errorf("the record at %s has a wrong checksum", s.start)
	}
	return nil
}

// commitTime is when a transaction committed, where the record says that one did.
func commitTime(body []byte) (time.Time, bool) {
	const operation, commit, commitPrepared = 0x70, 0x00, 0x30
	if op := body[info] & operation; body[manager] != ofTransactions || op != commit && op != commitPrepared {
		return time.Time{}, false
	}
	const origin, toplevel, short, long = 253, 252, 255, 254
	for rest := body[record:]; len(rest) > 0; {
		skip := 0
		switch rest[0] {
		case origin:
			skip = 3
		case toplevel:
			skip = 5
		case short:
			return microseconds(rest[min(len(rest), 2):])
		case long:
			return microseconds(rest[min(len(rest), 5):])
		}
		if skip == 0 || skip > len(rest) {
			return time.Time{}, false
		}
		rest = rest[skip:]
	}
	return time.Time{}, false
}

// microseconds reads a time as PostgreSQL keeps it.
func microseconds(data []byte) (time.Time, bool) {
	if len(data) < 8 {
		return time.Time{}, false
	}
	epoch := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	return time.UnixMicro(epoch.UnixMicro() + int64(binary.LittleEndian.Uint64(data))).UTC(), true
}

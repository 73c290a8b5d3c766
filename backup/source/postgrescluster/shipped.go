package postgrescluster

import (
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
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
	"github.com/understudy-ha/understudy/backup/source/postgrescluster/internal/wal"
	"github.com/understudy-ha/understudy/backup/stream"
)

// begun is what a stream says of itself: whoever follows must know it.
type begun struct {
	System   uint64 `json:"system_id,string"`
	Major    int    `json:"major"`
	Segment  uint64 `json:"segment_size"`
	Timeline uint32 `json:"timeline"`
	History  string `json:"history,omitempty"` // the content of the timeline's history file
	Term     *Term  `json:"term,omitempty"`
}

// streamer opens a server's log, as it is written, for a stream of it.
type streamer struct {
	server *primary
	slot   slot // the stream's own
	backup slot // where the newest backups are
	terms  *terms
	marks  marks
	eager  bool // commits wait for what is read

	process *process
}

// OpenLog implements Streamer.
func (s *Source) OpenLog(ctx context.Context, from *stream.Position) (source.Log, error) {
	err := s.sync.lifted(ctx)
	var log *shippedLog
	if err == nil {
		log, err = s.streamer.open(ctx, from)
	}
	if err != nil {
		return nil, s.say("open the log of %s", err)
	}
	return log, nil
}

func (s *streamer) open(ctx context.Context, from *stream.Position) (log *shippedLog, err error) {
	err = s.server.with(ctx, func(conn *pgx.Conn) error {
		a, err := s.server.ask(ctx, conn)
		if err == nil {
			err = a.fit()
		}
		if err != nil {
			return err
		}
		if lacks := a.settings(); len(lacks) > 0 {
			return lacks[0]
		}
		if from != nil {
			err = s.isSame(&a)
		} else {
			err = s.marks.write(mark{System: a.System}) // what was shipped before is of no concern any more
		}
		if err != nil {
			return err
		}
		b := begun{System: a.System, Major: a.Major, Segment: a.Segment}
		if b.Timeline, b.History, err = s.server.timeline(ctx); err != nil {
			return err
		}
		if b.Term, err = s.terms.read(); err != nil {
			return err
		}
		var at wal.LSN
		if from != nil {
			at = wal.LSN(*from)
		} else if at, err = s.newest(ctx, conn, &a, b); err != nil {
			return err
		}
		if at > a.Now {
			return fmt.Errorf("%w: the server is at %s, before %s: it was rolled back to an earlier state", source.ErrGap, a.Now, at)
		}
		if err := s.slot.ensure(ctx, conn); err != nil {
			return err
		}
		st, err := s.slot.look(ctx, conn)
		if err == nil && st.active != 0 {
			err = s.slot.taken()
		}
		if err != nil {
			return err
		}
		log, err = s.begin(ctx, b, at, &a)
		return err
	})
	return log, err
}

// isSame fails where the log that goes on was shipped of another server.
func (s *streamer) isSame(a *answer) error {
	was, err := s.marks.read()
	if err != nil || was == nil || was.System == a.System {
		return err
	}
	return fmt.Errorf("%w: %s", source.ErrGap, anotherServer(a.System, was.System))
}

// anotherServer says that a server has taken the place of another one.
func anotherServer(is, was uint64) string {
	return fmt.Sprintf("the server is another one: its system identifier is %d, and was %d (pg_upgrade and initdb make a new one)", is, was)
}

// newest is where a new stream begins: where the server's timeline does, if that is not
// long ago, since whoever follows has the log up to there; or where the newest backup
// goes on.
func (s *streamer) newest(ctx context.Context, conn *pgx.Conn, a *answer, b begun) (wal.LSN, error) {
	const near = 4 // segments
	if fork, ok := forkOf(b.History); ok && a.Now-fork.at <= wal.LSN(near*a.Segment) {
		// Its first segment begins with log of the timeline before. Whoever follows may lack
		// the last bytes of that, where they are zeros.
		at := wal.Start(fork.at, a.Segment)
		if there, err := s.has(ctx, at, b.Timeline); there || err != nil {
			return at, err
		}
	}
	st, err := s.backup.look(ctx, conn)
	if err == nil && st.there && !st.lost && st.at <= a.Now {
		return st.at, nil
	}
	return a.Now, err
}

// has tells whether the server has its log from a position on.
func (s *streamer) has(ctx context.Context, at wal.LSN, timeline uint32) (bool, error) {
	conn, err := s.server.replicate(ctx)
	if err != nil {
		return false, err
	}
	r, err := s.server.receive(ctx, conn, "", at, timeline)
	if err == nil {
		_, err = r.next(ctx, s.server.now().Add(soon))
		r.close(ctx)
	}
	if isGone(err) {
		return false, nil
	}
	return err == nil, err
}

// fork is where a timeline comes from.
type fork struct {
	parent uint32
	at     wal.LSN
}

// forkOf reads where the timeline of a history begins: its last line.
func forkOf(history string) (fork, bool) {
	all := forks(history)
	if len(all) == 0 {
		return fork{}, false
	}
	return all[len(all)-1], true
}

// forks reads the lines of a history, the oldest first.
func forks(history string) (all []fork) {
	for line := range strings.Lines(history) {
		fields := strings.Fields(line)
		if len(fields) < 2 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		parent, err := strconv.ParseUint(fields[0], 10, 32)
		at, bad := wal.Parse(fields[1])
		if err == nil && bad == nil {
			all = append(all, fork{uint32(parent), at})
		}
	}
	return all
}

// feed brings a server's log from a position on.
type feed interface {
	// next waits for log, until a moment at the most; none came by then where it is empty.
	// What it returns is valid until the next call.
	next(ctx context.Context, until time.Time) ([]byte, error)
	// reached is behind what came.
	reached() wal.LSN
	// send tells the server what is confirmed, or has next do so. It may be called beside next.
	send() error
	// close ends it.
	close(ctx context.Context)
	// drop ends it as a crash would. It may be called beside all else.
	drop()
}

// begin goes on a page before the position: what is there must be what was shipped.
func (s *streamer) begin(ctx context.Context, b begun, at wal.LSN, a *answer) (*shippedLog, error) {
	begin := max(wal.Start(at, b.Segment), at-min(at, tail))
	l := &shippedLog{s: s, begun: b, from: at, told: at}
	if err := s.feed(ctx, l, begin, a); err != nil {
		return nil, err
	}
	if err := l.compare(ctx, begin); err != nil {
		l.r.close(ctx)
		if isGone(err) {
			err = fmt.Errorf("%w: %w", source.ErrGap, err)
		}
		return nil, err
	}
	return l, nil
}

// feed has the log come: from a sender where commits wait for it, or where the agent cannot
// read the server's files; else from these.
func (s *streamer) feed(ctx context.Context, l *shippedLog, begin wal.LSN, a *answer) error {
	if !s.eager && s.server.isAt(a) == nil {
		r, err := s.read(ctx, l.begun, begin, a.Now)
		if err == nil {
			r.confirmed, l.r = l.confirmed, r
		}
		if !errors.Is(err, fs.ErrPermission) && !errors.Is(err, errElsewhere) {
			return err
		}
	}
	conn, err := s.server.replicateAs(ctx, s.slot.name)
	if err != nil {
		return err
	}
	r, err := s.server.receive(ctx, conn, s.slot.name, begin, l.begun.Timeline)
	switch {
	case isGone(err):
		return fmt.Errorf("%w: %w", source.ErrGap, err)
	case pgclient.IsCode(err, "55006"):
		return fmt.Errorf("%w: %w", s.slot.taken(), err)
	case err != nil:
		return err
	}
	r.confirmed, l.r = l.confirmed, r
	return nil
}

// shippedLog is a server's log, as it is written.
type shippedLog struct {
	s     *streamer
	r     feed
	begun begun
	from  wal.LSN
	rest  []byte // received, and not returned yet
	buf   []byte
	ended bool

	mu   sync.Mutex
	told wal.LSN // that everything before is in the bucket
	last []byte  // of what was returned
	ends []mark  // of what was returned, and is not confirmed yet
}

// mark is the end of some log, with the digest of its last page.
type mark struct {
	System   uint64  `json:"system_id,string"`
	At       wal.LSN `json:"at"`
	Timeline uint32  `json:"timeline"`
	Tail     string  `json:"tail"`
}

// compare reads what lies before the position.
func (l *shippedLog) compare(ctx context.Context, begin wal.LSN) error {
	if begin == l.from {
		return nil
	}
	for l.r.reached() < l.from {
		log, err := l.r.next(ctx, time.Time{})
		if err != nil {
			return err
		}
		over := int(max(l.r.reached(), l.from) - l.from)
		l.last = append(l.last, log[:len(log)-over]...)
		l.rest = append(l.rest, log[len(log)-over:]...)
	}
	was, err := l.s.marks.read()
	if err != nil || was == nil || was.At != l.from {
		return err // an earlier process has not come to note it
	}
	if was.Timeline != l.begun.Timeline {
		return fmt.Errorf("%w: the server is on timeline %d, and was on %d", source.ErrGap, l.begun.Timeline, was.Timeline)
	}
	if digestOf(l.last) != was.Tail {
		return fmt.Errorf("%w: before %s the server has another log than was shipped: it was rolled back to an earlier state, or restored", source.ErrGap, l.from)
	}
	return nil
}

// Begin implements source.Log.
func (l *shippedLog) Begin() (stream.Position, json.RawMessage) {
	data, err := json.Marshal(l.begun)
	if err != nil {
		panic(err) // numbers and texts
	}
	return stream.Position(l.from), data
}

// gatherFor is how long more log is waited for that may be on its way already.
const gatherFor = 2 * time.Millisecond

// Next implements source.Log. Where the server has stopped it returns io.EOF, behind all
// that the server had to say.
func (l *shippedLog) Next(ctx context.Context) ([]byte, stream.Position, error) {
	l.buf = append(l.buf[:0], l.rest...)
	l.rest = l.rest[:0]
	until := time.Time{}
	for len(l.buf) < stream.MaxLog && !l.ended {
		if len(l.buf) > 0 {
			until = l.s.server.now().Add(gatherFor)
		}
		log, err := l.r.next(ctx, until)
		if errors.Is(err, errStopping) {
			if !l.stopped(ctx) {
				continue
			}
			break
		}
		if errors.Is(err, io.EOF) {
			l.ended = true
			break
		}
		if err != nil {
			return nil, 0, err
		}
		if len(log) == 0 {
			break
		}
		l.buf = append(l.buf, log...)
	}
	if len(l.buf) == 0 {
		return nil, 0, io.EOF
	}
	if over := len(l.buf) - stream.MaxLog; over > 0 {
		l.rest = append(l.rest, l.buf[stream.MaxLog:]...)
		l.buf = l.buf[:stream.MaxLog]
	}
	to := l.r.reached() - wal.LSN(len(l.rest))
	l.returned(to)
	return l.buf, stream.Position(to), nil
}

// stopped looks whether the server stops, and lets it: it waits until everything is
// confirmed, however long that takes, or the receiver is gone. The slot keeps what is not.
func (l *shippedLog) stopped(ctx context.Context) bool {
	if l.s.server.connects(ctx) == nil {
		return false
	}
	l.ended = true
	l.r.close(ctx)
	return true
}

// returned remembers the last page of what was returned.
func (l *shippedLog) returned(to wal.LSN) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = append(l.last, l.buf[max(0, len(l.buf)-tail):]...)
	l.last = l.last[max(0, len(l.last)-tail):]
	begin := max(wal.Start(to, l.begun.Segment), to-min(to, tail))
	size := min(len(l.last), int(to-begin))
	l.ends = append(l.ends, mark{System: l.begun.System, At: to, Timeline: l.begun.Timeline, Tail: digestOf(l.last[len(l.last)-size:])})
	l.ends = l.ends[max(0, len(l.ends)-maxEnds):]
}

// maxEnds is more than is returned between two confirmations.
const maxEnds = 1 << 12

func (l *shippedLog) confirmed() wal.LSN {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.told
}

// Confirm implements source.Log. A server that stops meanwhile cannot be told, and all of its
// log has come: what lies behind a broken connection Next knows.
func (l *shippedLog) Confirm(p stream.Position) error {
	if at := wal.LSN(p); at > l.tell(at) {
		_ = l.r.send() // it is told again with each status
	}
	return nil
}

// tell notes what is confirmed, which never goes back, and returns what was before.
func (l *shippedLog) tell(at wal.LSN) (before wal.LSN) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before = l.told
	l.told = max(l.told, at)
	for i, m := range l.ends {
		if m.At == at {
			// What is lost of it in a crash only means that nothing is compared.
			_ = l.s.marks.write(m)
		}
		if m.At > at {
			l.ends = l.ends[i:]
			return before
		}
	}
	l.ends = nil
	return before
}

// Close implements source.Log.
func (l *shippedLog) Close() error {
	l.r.drop()
	return nil
}

// marks keep the end of what was confirmed last, in the scratch folder.
type marks struct{ scratch string }

func (m marks) path() string { return filepath.Join(m.scratch, "shipped.json") }

func (m marks) read() (*mark, error) {
	data, err := os.ReadFile(m.path())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	is := new(mark)
	if err != nil || json.Unmarshal(data, is) != nil {
		return nil, err // a text that was cut off tells nothing
	}
	return is, nil
}

func (m marks) write(is mark) error {
	data, err := json.Marshal(is)
	if err == nil {
		err = fsx.MakeScratch(m.scratch)
	}
	if err != nil {
		return err
	}
	const private = 0o600
	part := m.path() + ".part"
	if err := os.WriteFile(part, data, private); err != nil {
		return err
	}
	return os.Rename(part, m.path())
}

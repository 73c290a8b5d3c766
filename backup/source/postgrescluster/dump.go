package postgrescluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/chunks"
	"github.com/understudy-ha/understudy/backup/source/internal/meta"
	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
	"github.com/understudy-ha/understudy/backup/source/postgrescluster/internal/basebackup"
	"github.com/understudy-ha/understudy/backup/source/postgrescluster/internal/wal"
)

// dumper makes backups: a base, and the log from its start on. A backup goes on with the
// base of the one before, as long as that can be. With a new base the log goes on, too, where
// it can: what lies before the base is for moments alone.
type dumper struct {
	name      string
	server    *primary
	slot      slot
	terms     *terms
	baseEvery time.Duration
	minLog    int64 // as much log may a base have, however small it is
	fast      bool  // in tests, also the checkpoint of a later base is made at once
}

// maxLogOfSmall is how much log a base may have that is smaller.
const maxLogOfSmall = 256 << 20

// tail is how much of the end of a log tells whether the server still has the same one: a
// page.
const tail = wal.PageSize

func (d *dumper) dump(ctx context.Context, w chunks.Writer, prev *source.Previous) (e source.Entry, err error) {
	if done, e, err := d.stopped(ctx, w, prev); done || err != nil {
		return e, err
	}
	err = d.server.with(ctx, func(conn *pgx.Conn) error {
		b := &backup{d: d, w: w, conn: conn}
		b.begin(prev)
		e, err = b.run(ctx)
		return err
	})
	return e, err
}

// stopped makes the backup of a server that does not run.
func (d *dumper) stopped(ctx context.Context, w chunks.Writer, prev *source.Previous) (done bool, e source.Entry, err error) {
	err = fsx.At(d.server.dataDir, func(at fsx.Place) error {
		if len(at.Missing) > 0 {
			return &fs.PathError{Op: "open", Path: at.Path(), Err: fs.ErrNotExist}
		}
		data, err := at.Dir.OpenDir(at.Name)
		if err != nil {
			return err
		}
		defer data.Close()
		pid, err := runningIn(data)
		if err != nil || pid != 0 {
			return err
		}
		done = true
		e, err = d.offline(ctx, w, prev, data)
		return err
	})
	return done, e, err
}

// backup is one backup, under way.
type backup struct {
	d        *dumper
	w        chunks.Writer
	conn     *pgx.Conn
	prev     *source.Previous // nil: nothing that can be gone on with
	before   Facts            // of prev
	facts    Facts
	warnings []string
	damaged  []string
}

// begin takes the backup before as far as it is one of the kind.
func (b *backup) begin(prev *source.Previous) {
	if prev == nil {
		return
	}
	if facts, err := factsOf(prev.Entry); err == nil {
		b.prev, b.before = prev, facts
	}
}

func (b *backup) run(ctx context.Context) (source.Entry, error) {
	a, err := b.d.server.ask(ctx, b.conn)
	if err != nil {
		return source.Entry{}, err
	}
	if err := a.fit(); err != nil {
		return source.Entry{}, err
	}
	if err := checkSpaces(ctx, b.conn); err != nil { // a log that makes one cannot be replayed elsewhere
		return source.Entry{}, err
	}
	b.facts = a.Facts
	if err := b.describe(ctx, a); err != nil {
		return source.Entry{}, err
	}
	why, err := b.whyBase(ctx, a)
	if err != nil {
		return source.Entry{}, err
	}
	root, extra, err := b.store(ctx, why, a.Now)
	var anew *anewError
	if errors.As(err, &anew) { // found out with the first bytes
		root, extra, err = b.store(ctx, anew.why, a.Now)
	}
	if err != nil {
		return source.Entry{}, err
	}
	data, err := json.Marshal(b.facts)
	if err != nil {
		return source.Entry{}, err
	}
	return source.Entry{
		Kind: kind, Name: b.d.name, Size: b.facts.BaseBytes + b.facts.logSize(), Root: root, Extra: &extra,
		Facts: data, Warnings: b.warnings, Damaged: b.damaged,
	}, nil
}

// fit refuses a server that cannot be backed up.
func (a *answer) fit() error {
	switch {
	case a.Major < minMajor:
		return fmt.Errorf("the server runs PostgreSQL %d: %d is the oldest that is supported", a.Major, minMajor)
	case a.WalBlock != wal.PageSize:
		return fmt.Errorf("the server was built with pages of %d bytes in its log: only %d are supported", a.WalBlock, wal.PageSize)
	case a.Recovering:
		return errors.New("the server is in recovery, as a standby is: promote it, or start it without standby.signal")
	}
	return nil
}

// describe adds what the server does not say itself.
func (b *backup) describe(ctx context.Context, a answer) error {
	if dir := filepath.Dir(a.ConfigFile); a.ConfigFile != "" && !sameDir(dir, b.d.server.dataDir) {
		b.facts.Config = dir
	}
	err := fsx.At(b.d.server.dataDir, func(at fsx.Place) error {
		st, err := at.Stat()
		if err != nil {
			return err
		}
		names := meta.NewOwnerNames()
		b.facts.UID, b.facts.GID, b.facts.Mode = st.Uid, st.Gid, st.Mode&0o7777
		b.facts.User, b.facts.Group = names.User(st.Uid), names.Group(st.Gid)
		b.facts.Parents, err = meta.ParentsOf(at.Dir)
		return err
	})
	if err != nil {
		return err
	}
	if b.facts.Timeline, b.facts.History, err = b.d.server.timeline(ctx); err != nil {
		return err
	}
	if b.facts.Term, err = b.d.terms.read(); err != nil {
		return err
	}
	if b.facts.Term == nil && b.prev != nil {
		b.facts.Term = b.before.Term
	}
	return b.warnUnlogged(ctx)
}

// first is why a first base is made, of which nobody needs to be told.
const first = "there is none yet"

// whyBase says why a new base is made; "" for no reason. The slot is there afterwards.
func (b *backup) whyBase(ctx context.Context, a answer) (string, error) {
	was, err := b.d.slot.look(ctx, b.conn)
	if err != nil {
		return "", err
	}
	if err := b.d.slot.ensure(ctx, b.conn); err != nil {
		return "", err
	}
	old, grown := &b.before, int64(a.Now-b.before.From)
	switch {
	case b.prev == nil:
		return first, nil
	case old.System != a.System:
		return anotherServer(a.System, old.System), nil
	case old.Timeline != b.facts.Timeline:
		return fmt.Sprintf("the server is on timeline %d, and was on %d", b.facts.Timeline, old.Timeline), nil
	case !was.there:
		return fmt.Sprintf("replication slot %s was dropped", b.d.slot.name), nil
	case was.lost:
		return fmt.Sprintf("replication slot %s is lost: the server has deleted log that was not backed up yet (max_slot_wal_keep_size)", b.d.slot.name), nil
	case old.To > a.Now:
		return fmt.Sprintf("the server has gone back: it is at %s, and was at %s", a.Now, old.To), nil
	case was.at > old.To:
		return fmt.Sprintf("replication slot %s was moved to %s, behind %s, by somebody else: let one agent alone work on a server", b.d.slot.name, was.at, old.To), nil
	case grown > max(old.BaseBytes, b.d.minLog):
		return tooMuchLog, nil
	case b.d.server.now().Sub(old.BaseTime) >= b.d.baseEvery:
		return tooOld, nil
	}
	return "", nil
}

// Reasons that are no news.
const (
	tooMuchLog = "its log is longer than the base"
	tooOld     = "its base is old"
)

// anewError says that only a new base helps.
type anewError struct{ why string }

func (e *anewError) Error() string { return "a new base is needed: " + e.why }

// store stores base and log.
func (b *backup) store(ctx context.Context, why string, now wal.LSN) (root, extra pack.Stream, err error) {
	needed := b.before.To - min(b.before.To, tail) // by the next backup, should this one fail
	urgent := false                                // until the base is there, nothing that was written since can be restored
	switch why {
	case "":
	case tooMuchLog, tooOld:
	case first:
		needed, urgent = now, true
	default:
		needed, urgent = now, true
		b.warnings = append(b.warnings, fmt.Sprintf("a new base was made, because %s", why))
	}
	// The backup before is in the bucket: nobody will ask for log from before its last page,
	// which is compared. That page may lie in another segment than the end.
	if err := b.d.slot.advance(ctx, b.conn, needed); err != nil {
		return root, extra, err
	}
	if why == "" {
		return b.goOn(ctx)
	}
	return b.anew(ctx, urgent)
}

// anew takes a base, and the log from its start to now: from where that of the backup before
// ended, if it goes on. Where the base is not urgent the server's clients are not to notice its
// checkpoint, which may take minutes.
func (b *backup) anew(ctx context.Context, urgent bool) (root, extra pack.Stream, err error) {
	conn, err := b.d.server.replicate(ctx)
	if err != nil {
		return root, extra, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // nobody waits for it
	taken := &base{w: b.w}
	b.facts.BaseTime = b.d.server.now().UTC().Truncate(time.Second)
	o := basebackup.Options{Label: "understudy", Fast: urgent || b.d.fast}
	r, err := basebackup.Run(ctx, conn, o, taken.take(ctx))
	if err != nil {
		return root, extra, err
	}
	b.facts.StopTime = b.d.server.now().UTC()
	if r.Timeline != b.facts.Timeline {
		return root, extra, fmt.Errorf("the server went from timeline %d to %d while it was backed up", b.facts.Timeline, r.Timeline)
	}
	if r.Damage != nil {
		b.damaged = append(b.damaged, fmt.Sprintf("the server finds pages whose checksum is wrong: its log names them (%v)", r.Damage))
	}
	if root, err = taken.write(ctx, b.facts.Mode); err != nil {
		return root, extra, err
	}
	b.facts.Start, b.facts.Stop, b.facts.From = r.Start, r.Stop, wal.Start(r.Start, b.facts.Segment)
	b.facts.BaseFiles, b.facts.BaseBytes = int64(len(taken.nodes)), taken.bytes
	added, err := b.receiveAnew(ctx, urgent)
	if err != nil {
		return root, extra, err
	}
	extra, err = writeLog(ctx, b.w, nil, nil, added)
	return root, extra, err
}

// receiveAnew stores the log of a new base. The log since the backup before is stored, too: no
// other backup has it, and without it no moment between the two could be restored once the
// parts of the stream have expired.
func (b *backup) receiveAnew(ctx context.Context, urgent bool) ([]piece, error) {
	if old := &b.before; !urgent && old.To <= b.facts.From {
		added, err := b.receive(ctx, old.To, old)
		var anew *anewError
		if !errors.As(err, &anew) {
			b.facts.Joins = old.To
			return added, err
		}
		b.warnings = append(b.warnings, fmt.Sprintf("no moment between the backup before and this one's base can be restored, because %s", anew.why))
	}
	return b.receive(ctx, b.facts.From, nil)
}

// goOn keeps the base of the backup before, and adds the log since.
func (b *backup) goOn(ctx context.Context) (root, extra pack.Stream, err error) {
	old := &b.before
	b.facts.Start, b.facts.Stop, b.facts.From, b.facts.Joins = old.Start, old.Stop, old.From, old.Joins
	b.facts.BaseTime, b.facts.StopTime = old.BaseTime, old.StopTime
	b.facts.BaseFiles, b.facts.BaseBytes = old.BaseFiles, old.BaseBytes
	added, err := b.receive(ctx, old.To, old)
	if err != nil {
		return root, extra, err
	}
	if root, err = keepBase(ctx, b.w, b.prev.Reader, b.prev.Entry.Root); err != nil {
		return root, extra, err
	}
	extra, err = writeLog(ctx, b.w, b.prev.Reader, b.prev.Entry.Extra, added)
	return root, extra, err
}

// receive stores the log from a position to where the server is by now. It begins with
// the last page of the log before, which has to be what it was.
func (b *backup) receive(ctx context.Context, from wal.LSN, old *Facts) ([]piece, error) {
	b.facts.ToTime = b.d.server.now().UTC()
	to, err := b.d.server.flushed(ctx, b.conn)
	if err != nil {
		return nil, err
	}
	to = max(to, b.facts.Stop, from)
	begin := from
	if old != nil {
		begin = max(old.From, from-min(from, tail))
	}
	conn, err := b.d.server.replicate(ctx)
	if err != nil {
		return nil, err
	}
	r, err := b.d.server.receive(ctx, conn, "", begin, b.facts.Timeline)
	if err != nil {
		return nil, err
	}
	defer r.close(ctx)
	log := &tailing{from: &span{ctx: ctx, r: r, to: to}}
	if old != nil {
		if err := compareTail(log, from-begin, old.Tail); err != nil {
			return nil, err
		}
	}
	added, err := storeLog(ctx, b.w, from, log)
	if isGone(err) && old == nil {
		return nil, fmt.Errorf("the server has deleted its log while it was backed up: raise max_slot_wal_keep_size: %w", err)
	}
	if isGone(err) {
		return nil, &anewError{why: fmt.Sprintf("the server does not have its log from %s on any more", begin)}
	}
	if err != nil {
		return nil, err
	}
	b.facts.To, b.facts.Tail = to, log.digest()
	return added, nil
}

// compareTail reads the end of the log before once more.
func compareTail(log io.Reader, size wal.LSN, digest string) error {
	end := make([]byte, size)
	_, err := io.ReadFull(log, end)
	if isGone(err) {
		return &anewError{why: "the server does not have the end of the log before any more"}
	}
	if err != nil {
		return err
	}
	if digestOf(end) != digest {
		return &anewError{why: "the server has another log than it had: it was rolled back to an earlier state, or restored"}
	}
	return nil
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// tailing keeps the last of what is read.
type tailing struct {
	from io.Reader
	last []byte
}

// Read implements io.Reader.
func (t *tailing) Read(p []byte) (int, error) {
	n, err := t.from.Read(p)
	t.last = append(t.last, p[max(0, n-tail):n]...)
	t.last = t.last[max(0, len(t.last)-tail):]
	return n, err
}

func (t *tailing) digest() string { return digestOf(t.last) }

// flushed is up to where the server has its log on its disk.
func (p *primary) flushed(ctx context.Context, conn *pgx.Conn) (at wal.LSN, err error) {
	var text string
	if err := conn.QueryRow(ctx, "SELECT pg_catalog.pg_current_wal_flush_lsn()::text").Scan(&text); err != nil {
		return 0, fmt.Errorf("ask the server how far it is: %w", err)
	}
	return wal.Parse(text)
}

// warnUnlogged names tables of the database of url that a restore leaves empty.
func (b *backup) warnUnlogged(ctx context.Context) error {
	names, err := pgclient.CollectNames(ctx, b.conn, `SELECT c.oid::regclass::text FROM pg_catalog.pg_class c
		WHERE relpersistence = 'u' AND relkind = 'r' ORDER BY 1 LIMIT 20`)
	if err != nil {
		return fmt.Errorf("look for unlogged tables: %w", err)
	}
	if len(names) > 0 {
		shown := names[:min(len(names), source.MaxNamed)]
		b.warnings = append(b.warnings, fmt.Sprintf("unlogged tables are empty after a restore: %s (%d of database %s)",
			strings.Join(shown, ", "), len(names), b.d.server.url.Database()))
	}
	return nil
}

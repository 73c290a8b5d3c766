package moments

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/stream"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
)

const kind = "moments-test"

func init() {
	source.Register(source.Kind{Name: kind, Moments: &source.Moments{
		Recording: func(e source.Entry) (is source.Recording, ok bool) {
			return is, json.Unmarshal(e.Facts, &is) == nil
		},
		Continues: func(e source.Entry, begin json.RawMessage) bool {
			var is source.Recording
			return json.Unmarshal(e.Facts, &is) == nil && string(begin) == `"`+is.Log+`"`
		},
		Log: func(_ context.Context, _ *pack.Reader, e source.Entry, from stream.Position, take func(stream.Position, []byte) error) error {
			var is source.Recording
			return errors.Join(json.Unmarshal(e.Facts, &is), take(from, []byte(is.Base)))
		},
	}})
}

// at is a minute of the day.
func at(minute float64) time.Time {
	return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).Add(time.Duration(minute * float64(time.Minute)))
}

// dump is a backup's part: a base since a minute, whose log goes to another one. Positions
// are ten a minute.
func dump(log string, base, until float64) source.Entry {
	facts, err := json.Marshal(source.Recording{
		Base: fmt.Sprint(log, base), Log: log, From: stream.Position(10 * base), Since: at(base), To: stream.Position(10 * until), Until: at(until),
	})
	if err != nil {
		panic(err)
	}
	return source.Entry{Name: "db", Kind: kind, Facts: facts}
}

// joining is a dump that also has the log before its base, from a minute on.
func joining(from float64, log string, base, until float64) source.Entry {
	e := dump(log, base, until)
	var is source.Recording
	err := json.Unmarshal(e.Facts, &is)
	if is.Joins = stream.Position(10 * from); err == nil {
		e.Facts, err = json.Marshal(is)
	}
	if err != nil {
		panic(err)
	}
	return e
}

// bucket has backups, the newest first, and streams.
type bucket struct {
	list      control.BackupList
	manifests map[string]*backup.Manifest
	parts     []stream.Part // one a stream
	err       error
	read      int // how many manifests were
}

func (b *bucket) add(time float64, change func(*control.BackupInfo), entries ...source.Entry) {
	ref := backup.Ref{ID: fmt.Sprint("at-", time), Epoch: 1, Time: at(time)}
	manifest := &backup.Manifest{ID: ref.ID, Time: at(time), Sources: append(entries, source.Entry{Name: "files", Kind: "directory"})}
	info := control.InfoOf(ref, manifest)
	if change != nil {
		change(&info)
	}
	b.list.Backups = append([]control.BackupInfo{info}, b.list.Backups...)
	if b.manifests == nil {
		b.manifests = map[string]*backup.Manifest{}
	}
	b.manifests[ref.ID] = manifest
}

// ship makes a stream from a minute to another one.
func (b *bucket) ship(n uint64, log string, from, to float64) {
	b.parts = append(b.parts, stream.Part{
		Source: "db", Stream: stream.ID{Epoch: 1, N: n}, Sequence: 1, Begin: json.RawMessage(`"` + log + `"`),
		From: stream.Position(10 * from), To: stream.Position(10 * to), Time: at(to),
	})
}

func (b *bucket) List(context.Context, string, int) (control.BackupList, error) { return b.list, nil }

func (b *bucket) Manifest(_ context.Context, ref backup.Ref) (*backup.Manifest, error) {
	b.read++
	return b.manifests[ref.ID], nil
}

func (b *bucket) Streams(context.Context, string) (ids []stream.ID, err error) {
	for _, p := range b.parts {
		ids = append(ids, p.Stream)
	}
	return ids, nil
}

func (b *bucket) RunFrom(_ context.Context, _ string, id stream.ID, at, _ stream.Position) (stream.Run, error) {
	i := slices.IndexFunc(b.parts, func(p stream.Part) bool { return p.Stream == id })
	switch p := b.parts[i]; {
	case b.err != nil:
		return stream.Run{}, b.err
	case at < p.From || at > p.To:
		return stream.Run{}, stream.ErrGone
	default:
		return stream.Run{Before: stream.Tip{To: p.From}, Last: p}, nil
	}
}

func (b *bucket) Read(_ context.Context, _ string, id stream.ID, _ stream.Tip) (stream.Part, stream.Tip, error) {
	i := slices.IndexFunc(b.parts, func(p stream.Part) bool { return p.Stream == id })
	return b.parts[i], stream.Tip{Sequence: 1, To: b.parts[i].To}, nil
}

// shows are windows and gaps, in minutes.
func shows(s Source) string {
	minute := func(t time.Time) float64 { return t.Sub(at(0)).Minutes() }
	var all []string
	for _, w := range s.Windows {
		all = append(all, strings.TrimSpace(fmt.Sprint(minute(w.Since), "-", minute(w.Until), " ", strings.TrimSpace(w.Backup+" "+w.Next), " ", w.Streams)))
	}
	for _, g := range s.Gaps {
		all = append(all, fmt.Sprint("gap ", minute(g.From), "-", minute(g.To)))
	}
	return strings.Join(all, "; ")
}

func find(t *testing.T, b *bucket) *Moments {
	t.Helper()
	m, err := Find(t.Context(), b, b)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestWindowsAreFound(t *testing.T) {
	cutOff := func(i *control.BackupInfo) { i.Superseded = true }
	for what, c := range map[string]struct {
		fill func(b *bucket)
		want string
	}{
		"the newest backup of a base has all its log": {func(b *bucket) {
			b.add(1, nil, dump("a", 1, 2))
			b.add(5, nil, dump("a", 1, 6))
		}, "1-6 at-5 []"},
		"streams go on from there, one after the other": {func(b *bucket) {
			b.add(1, nil, dump("a", 1, 2))
			b.ship(1, "a", 0, 4)
			b.ship(2, "a", 4, 9)
		}, "1-9 at-1 [1-1 1-2]"},
		"a stream that begins later does not": {func(b *bucket) {
			b.add(1, nil, dump("a", 1, 2))
			b.ship(1, "a", 3, 4)
		}, "1-2 at-1 []"},
		"nor one of another log": {func(b *bucket) {
			b.add(1, nil, dump("a", 1, 2))
			b.ship(1, "b", 0, 4)
		}, "1-2 at-1 []"},
		"what was shipped closes the gap before the next base": {func(b *bucket) {
			b.add(1, nil, dump("a", 1, 2))
			b.add(7, nil, dump("a", 7, 8))
			b.ship(1, "a", 0, 9)
		}, "1-9 at-1 [1-1]; 7-9 at-7 [1-1]"},
		"no gap where an earlier window goes on": {func(b *bucket) {
			b.add(1, nil, dump("a", 1, 2))
			b.ship(1, "a", 0, 9)
			b.add(3, nil, dump("b", 3, 4))
			b.add(6, nil, dump("c", 6, 7))
		}, "1-9 at-1 [1-1]; 3-4 at-3 []; 6-7 at-6 []"},
		"and so does a backup that has it": {func(b *bucket) {
			b.add(1, nil, dump("a", 1, 2))
			b.add(4, nil, joining(2, "a", 4, 5))
			b.add(5, nil, joining(2, "a", 4, 6))
			b.add(8, nil, joining(6, "a", 7, 8))
			b.ship(1, "a", 7, 9)
		}, "1-4 at-1 at-5 []; 4-7 at-5 at-8 []; 7-9 at-8 [1-1]"},
		"one that has it from later on does not": {func(b *bucket) {
			b.add(1, nil, dump("a", 1, 2))
			b.add(7, nil, joining(3, "a", 7, 8))
		}, "1-2 at-1 []; 7-8 at-7 []; gap 2-7"},
		"a gap without it": {func(b *bucket) {
			b.add(1, nil, dump("a", 1, 2))
			b.add(7, nil, dump("b", 7, 8))
		}, "1-2 at-1 []; 7-8 at-7 []; gap 2-7"},
		"a server that was put back has another log": {func(b *bucket) {
			b.add(1, nil, dump("a", 1, 6))
			later := source.Recording{Base: "a again", Log: "a", From: 40, Since: at(9), To: 45, Until: at(10)}
			facts, err := json.Marshal(later)
			if err != nil {
				t.Fatal(err)
			}
			b.add(9, nil, source.Entry{Name: "db", Kind: kind, Facts: facts})
			b.ship(1, "a", 3, 9)
		}, "1-6 at-1 []; 9-10 at-9 []; gap 6-9"},
		"what was cut off is restored by its id": {func(b *bucket) {
			b.add(1, nil, dump("a", 1, 2))
			b.add(5, cutOff, dump("a", 1, 6))
		}, "1-2 at-1 []"},
	} {
		b := new(bucket)
		c.fill(b)
		if m := find(t, b); len(m.Sources) != 1 || shows(m.Sources[0]) != c.want {
			t.Errorf("%s: %s, and not %s", what, shows(m.Sources[0]), c.want)
		}
	}
}

// TestAMomentIsMadeOf the newest base before it, and of the newest backup of what has no log.
func TestAMomentIsMadeOf(t *testing.T) {
	b := new(bucket)
	b.add(1, nil, dump("a", 1, 2))
	b.add(4, nil, dump("a", 1, 5))
	b.add(7, nil, dump("b", 7, 8))
	b.ship(1, "b", 7, 9)
	m := find(t, b)
	for minute, want := range map[float64]string{1: "at-4 at-1", 4.5: "at-4 at-4", 5: "at-4 at-4", 7.5: "at-7 at-7", 9: "at-7 at-7"} {
		is, err := m.At(t.Context(), at(minute))
		if err != nil || len(is.Items) != 2 || is.Items[0].Ref.ID+" "+is.Items[1].Ref.ID != want || is.Items[0].Window == nil || is.Items[1].Window != nil || is.Backup != is.Items[1].Ref {
			t.Errorf("minute %v: %+v, %v", minute, is, err)
		}
	}
	for _, minute := range []float64{0, 0.99, 5.01, 6.99, 9.01} {
		is, err := m.At(t.Context(), at(minute))
		const windows = "to any moment from 2026-03-01T12:01:00.000Z to 2026-03-01T12:05:00.000Z, from 2026-03-01T12:07:00.000Z to 2026-03-01T12:09:00.000Z"
		if !ha.IsRefusal(err) || !strings.Contains(err.Error(), windows) || strings.Contains(err.Error(), "\n") {
			t.Errorf("minute %v: %+v, %v", minute, is, err)
		}
	}
	is, err := m.At(t.Context(), at(8.5))
	if err != nil {
		t.Fatal(err)
	}
	var log []stream.Position
	err = m.Log(is.Items[0].Window, nil)(t.Context(), 80, func(at stream.Position, _ []byte) error {
		log = append(log, at)
		return nil
	})
	if err != nil || !slices.Equal(log, []stream.Position{70}) {
		t.Errorf("the log: %v, %v", log, err)
	}
}

// TestFewManifestsAreRead: a page of the console asks for windows, and a chain has thousands
// of backups.
func TestFewManifestsAreRead(t *testing.T) {
	b := new(bucket)
	for i := range 1000 {
		base := float64(i / 250 * 250)
		b.add(float64(i), nil, dump("a", base, float64(i)+.5))
	}
	m := find(t, b)
	if b.read != 4 || len(m.Sources[0].Windows) != 4 {
		t.Errorf("%d manifests were read for %d windows", b.read, len(m.Sources[0].Windows))
	}
	if is, err := m.At(t.Context(), at(300.2)); err != nil || b.read != 5 || is.Backup.ID != "at-300" {
		t.Errorf("%+v by %d manifests, %v", is, b.read, err)
	}
}

// TestLogBeforeABaseIsRead from the newest backup with that base.
func TestLogBeforeABaseIsRead(t *testing.T) {
	b := new(bucket)
	b.add(1, nil, dump("a", 1, 2))
	b.add(7, nil, joining(2, "a", 7, 8))
	b.add(8, nil, joining(2, "a", 7, 9))
	m := find(t, b)
	is, err := m.At(t.Context(), at(6))
	if err != nil || is.Items[0].Ref.ID != "at-1" {
		t.Fatalf("%+v, %v", is, err)
	}
	opened, log := "", ""
	more := m.Log(is.Items[0].Window, func(_ context.Context, ref backup.Ref) (*pack.Reader, error) {
		opened = ref.ID
		return nil, nil
	})
	err = more(t.Context(), 20, func(at stream.Position, is []byte) error {
		log = fmt.Sprint(at, " ", string(is))
		return errors.New("enough")
	})
	if opened != "at-8" || log != "20 a7" || err == nil || err.Error() != "enough" {
		t.Errorf("backup %q, log %q, %v", opened, log, err)
	}
	more = m.Log(is.Items[0].Window, func(context.Context, backup.Ref) (*pack.Reader, error) { return nil, blobstore.ErrUnavailable })
	if err := more(t.Context(), 20, nil); !errors.Is(err, blobstore.ErrUnavailable) {
		t.Errorf("while the bucket is away: %v", err)
	}
}

func TestWhatIsWrongWithAStreamIsSaid(t *testing.T) {
	b := new(bucket)
	b.add(1, nil, dump("a", 1, 2))
	b.ship(1, "a", 0, 4)
	b.err = fmt.Errorf("part 1: %w", stream.ErrDamaged)
	if w := find(t, b).Sources[0].Windows[0]; w.Until != at(2) || !strings.Contains(w.Broken, "part 1") {
		t.Errorf("%+v", w)
	}
	b.err = &blobstore.Error{Kind: blobstore.ErrUnavailable}
	if m, err := Find(t.Context(), b, b); !errors.Is(err, blobstore.ErrUnavailable) {
		t.Errorf("while the bucket is away: %+v, %v", m, err)
	}
	if _, err := find(t, new(bucket)).At(t.Context(), at(1)); !ha.IsRefusal(err) || !strings.Contains(err.Error(), "there are backups alone") {
		t.Errorf("of nothing: %v", err)
	}
}

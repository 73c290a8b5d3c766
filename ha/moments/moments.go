package moments

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/stream"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/restore"
)

// Chain is the backups of a cluster: a control.Chain.
type Chain interface {
	List(ctx context.Context, before string, limit int) (control.BackupList, error)
	Manifest(ctx context.Context, ref backup.Ref) (*backup.Manifest, error)
}

// Streams are the streams of a cluster: a stream.Chain.
type Streams interface {
	Streams(ctx context.Context, source string) ([]stream.ID, error)
	RunFrom(ctx context.Context, source string, id stream.ID, at, limit stream.Position) (stream.Run, error)
	Read(ctx context.Context, source string, id stream.ID, after stream.Tip) (stream.Part, stream.Tip, error)
}

// Window is a time to each moment of which a source can be brought.
type Window struct {
	Since time.Time `json:"since"` // when the base was whole
	Until time.Time `json:"until"` // when the source was where the log ends
	Epoch uint64    `json:"epoch"`
	// Backup is the newest with the base. The log goes on from there in the packs of the
	// backup Next, up to that one's base, or in Streams.
	Backup  string      `json:"backup"`
	Next    string      `json:"next,omitempty"`
	Streams []stream.ID `json:"streams,omitempty"`
	// Broken says why the log that was shipped is of no use from Until on.
	Broken string `json:"broken,omitempty"`

	ref   backup.Ref
	entry source.Entry
	is    source.Recording
	next  *Window
	runs  []stream.Run
}

// Gap is a time between windows: no moment in it can be reached.
type Gap struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// Source is what can be reached of a source.
type Source struct {
	Name    string   `json:"source"`
	Kind    string   `json:"kind"`
	Windows []Window `json:"windows" nullable:"false"` // the oldest first
	Gaps    []Gap    `json:"gaps,omitempty"`
}

// Moments are those of a cluster.
type Moments struct {
	Sources []Source
	backups []control.BackupInfo // of the present chain, the newest first
	chain   Chain
	streams Streams
}

// Find looks in the bucket for what can be reached: by the backups of the present chain.
// What promotions have cut off, and salvage backups, are restored by their ids.
func Find(ctx context.Context, chain Chain, streams Streams) (*Moments, error) {
	const all = 100_000
	list, err := chain.List(ctx, "", all)
	if err != nil {
		return nil, err
	}
	m := &Moments{chain: chain, streams: streams}
	for _, info := range list.Backups {
		if !info.Superseded && !info.Salvage && !info.Unlinked && info.Damaged == "" {
			m.backups = append(m.backups, info)
		}
	}
	if err := m.group(ctx); err != nil {
		return nil, err
	}
	for i := range m.Sources {
		if err := m.Sources[i].goOn(ctx, streams); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// group makes windows of backups: those with one base have beginnings of one log, so that
// the newest of them has all of it, and no other one is read.
func (m *Moments) group(ctx context.Context) error {
	seen := make(map[string]bool)
	for _, b := range m.backups {
		for _, info := range b.Sources {
			key := info.Name + "\x00" + info.Base
			if info.Base == "" || seen[key] {
				continue
			}
			seen[key] = true
			manifest, err := m.chain.Manifest(ctx, b.Ref)
			if err != nil {
				return err
			}
			for _, e := range manifest.Sources {
				if is, ok := source.RecordingOf(e); ok && e.Name == info.Name {
					s := m.of(e)
					s.Windows = append(s.Windows, Window{Since: is.Since, Until: is.Until, Epoch: b.Epoch, Backup: b.ID, ref: b.Ref, entry: e, is: is})
				}
			}
		}
	}
	slices.SortFunc(m.Sources, func(x, y Source) int { return strings.Compare(x.Name, y.Name) })
	for _, s := range m.Sources {
		slices.SortFunc(s.Windows, func(x, y Window) int { return x.Since.Compare(y.Since) })
	}
	return nil
}

// of is the source of an entry.
func (m *Moments) of(e source.Entry) *Source {
	for i := range m.Sources {
		if m.Sources[i].Name == e.Name {
			return &m.Sources[i]
		}
	}
	m.Sources = append(m.Sources, Source{Name: e.Name, Kind: e.Kind})
	return &m.Sources[len(m.Sources)-1]
}

// goOn adds what later backups have of the log, or streams, and names the gaps.
func (s *Source) goOn(ctx context.Context, streams Streams) error {
	ids, err := streams.Streams(ctx, s.Name)
	if err != nil {
		return err
	}
	for i := range s.Windows {
		w, limit := &s.Windows[i], stream.Position(math.MaxUint64)
		if later := s.laterInLog(i); later != nil {
			limit = later.is.From
			if w.joins(later) || limit < w.is.To {
				continue
			}
		}
		if err := w.extend(ctx, s.Name, streams, ids, limit); err != nil {
			return err
		}
	}
	until := s.Windows[0].Until
	for _, w := range s.Windows[1:] {
		if until.Before(w.Since) {
			s.Gaps = append(s.Gaps, Gap{until, w.Since})
		}
		if until.Before(w.Until) {
			until = w.Until
		}
	}
	return nil
}

// laterInLog is the window of the next base in the same log, up to where the log of a window
// is of use; nil: there is none. Where that begins before the end of this one the source was
// put back to an earlier state, and what was shipped since is another log.
func (s *Source) laterInLog(i int) *Window {
	for j := i + 1; j < len(s.Windows); j++ {
		if s.Windows[j].is.Log == s.Windows[i].is.Log {
			return &s.Windows[j]
		}
	}
	return nil
}

// joins has a window go up to a later base, if a backup with that has the log between.
func (w *Window) joins(later *Window) bool {
	is := later.is
	if is.Joins == 0 || is.Joins > w.is.To || w.is.To > is.From {
		return false
	}
	w.next, w.Next = later, later.Backup
	if later.Since.After(w.Until) {
		w.Until = later.Since
	}
	return true
}

// extend adds to a window what streams have of its log.
func (w *Window) extend(ctx context.Context, name string, streams Streams, ids []stream.ID, limit stream.Position) error {
	at := w.is.To
	for _, id := range ids {
		run, err := streams.RunFrom(ctx, name, id, at, limit)
		var failed *blobstore.Error
		switch {
		case errors.Is(err, stream.ErrGone):
			continue
		case errors.As(err, &failed) || ctx.Err() != nil:
			return err
		case err != nil:
			w.Broken = err.Error()
			return nil //nolint:nilerr // the window is of use up to there
		case !source.Continues(w.entry, run.Last.Begin):
			continue
		}
		if run.Last.To >= at && run.Last.Time.After(w.Until) {
			w.runs, w.Streams = append(w.runs, run), append(w.Streams, id)
			at, w.Until = run.Last.To, run.Last.Time
		}
	}
	return nil
}

// Item is one source's part of a moment.
type Item struct {
	Ref   backup.Ref // the backup that Entry is of
	Entry source.Entry
	// Window is the one that the moment lies in; nil: the source is as in the backup.
	Window *Window
}

// Moment is what one is made of.
type Moment struct {
	Backup backup.Ref // the newest that is not later
	Items  []Item     // one a source of it
}

// At says what a moment is made of: each source whose log has it, and the others as in the
// newest backup that is not later. A moment in no window of such a source is refused.
func (m *Moments) At(ctx context.Context, at time.Time) (*Moment, error) {
	if len(m.Sources) == 0 {
		return nil, refusef("no source has its log in the bucket from a base on, so there are backups alone: list them with understudy backups")
	}
	ref, newest, err := m.newestAt(ctx, at)
	switch {
	case err != nil:
		return nil, err
	case newest == nil:
		return nil, m.outside(&m.Sources[0], at)
	}
	is := &Moment{Backup: ref}
	for _, e := range newest.Sources {
		item := Item{Ref: ref, Entry: e}
		if s := m.named(e.Name); s != nil {
			if item.Window = s.at(at); item.Window == nil {
				return nil, m.outside(s, at)
			}
			item.Ref, item.Entry = item.Window.ref, item.Window.entry
		}
		is.Items = append(is.Items, item)
	}
	return is, nil
}

// newestAt is the newest backup that is not later than a moment; nil: there is none. The
// time of one that was found by its name is cut to the second.
func (m *Moments) newestAt(ctx context.Context, at time.Time) (backup.Ref, *backup.Manifest, error) {
	for _, b := range m.backups {
		if b.Time.After(at) {
			continue
		}
		if manifest, err := m.chain.Manifest(ctx, b.Ref); err != nil || !manifest.Time.After(at) {
			return b.Ref, manifest, err
		}
	}
	return backup.Ref{}, nil, nil
}

func (m *Moments) named(name string) *Source {
	for i := range m.Sources {
		if m.Sources[i].Name == name {
			return &m.Sources[i]
		}
	}
	return nil
}

// at is the window that a moment lies in, with the newest base; nil for none.
func (s *Source) at(at time.Time) *Window {
	for i := len(s.Windows) - 1; i >= 0; i-- {
		if w := &s.Windows[i]; !at.Before(w.Since) && !at.After(w.Until) {
			return w
		}
	}
	return nil
}

func refusef(format string, args ...any) error {
	return &ha.Refusal{Reason: fmt.Sprintf(format, args...)}
}

// mostNamed is how many windows an error names.
const mostNamed = 8

// outside says that a moment lies in no window, and which there are.
func (m *Moments) outside(s *Source, at time.Time) error {
	var named []string
	for _, w := range s.Windows[max(0, len(s.Windows)-mostNamed):] {
		named = append(named, fmt.Sprintf("from %s to %s", Stamp(w.Since, true), Stamp(w.Until, false)))
	}
	text := strings.Join(named, ", ")
	if more := len(s.Windows) - len(named); more > 0 {
		text = fmt.Sprintf("%s (and %d earlier windows: understudy backups --windows)", text, more)
	}
	return refusef("source %s cannot be brought to %s: it can be to any moment %s", s.Name, at.UTC().Format(time.RFC3339Nano), text)
}

// Stamp writes the border of a window to the millisecond, within the window.
func Stamp(at time.Time, begin bool) string {
	cut := at.UTC().Truncate(time.Millisecond)
	if begin && cut.Before(at) {
		cut = cut.Add(time.Millisecond)
	}
	return cut.Format("2006-01-02T15:04:05.000Z07:00")
}

// Open opens a backup in the bucket.
type Open func(ctx context.Context, ref backup.Ref) (*pack.Reader, error)

// Once is Open, of which each backup is opened once.
func Once(open Open) Open {
	readers := make(map[string]*pack.Reader)
	return func(ctx context.Context, ref backup.Ref) (*pack.Reader, error) {
		if r := readers[ref.ID]; r != nil {
			return r, nil
		}
		r, err := open(ctx, ref)
		if err == nil {
			readers[ref.ID] = r
		}
		return r, err
	}
}

// Part is what an item is restored from: its backup and, where its source's log has the
// moment, the log up to there.
func (m *Moments) Part(ctx context.Context, item Item, at time.Time, open Open) (p restore.Part, err error) {
	p.Entry = item.Entry
	if item.Window != nil {
		p.Moment = &source.Moment{Time: at, More: m.Log(item.Window, open)}
	}
	p.Reader, err = open(ctx, item.Ref)
	return p, err
}

// Log is the log of a window beyond that of its backup: for source.Moment.
func (m *Moments) Log(w *Window, open Open) func(ctx context.Context, from stream.Position, take func(at stream.Position, log []byte) error) error {
	return func(ctx context.Context, from stream.Position, take func(at stream.Position, log []byte) error) error {
		if w.next != nil {
			r, err := open(ctx, w.next.ref)
			if err != nil {
				return err
			}
			return source.LogFrom(ctx, r, w.next.entry, from, take)
		}
		for _, run := range w.runs {
			for tip := run.Before; tip.Sequence < run.Last.Sequence; {
				p, next, err := m.streams.Read(ctx, run.Last.Source, run.Last.Stream, tip)
				if err == nil && p.End == nil {
					err = take(p.From, p.Log)
				}
				if err != nil {
					return err
				}
				tip = next
			}
		}
		return nil
	}
}

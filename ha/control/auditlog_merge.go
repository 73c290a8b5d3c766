package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
)

// merge gives the events of control objects and branches in one order, newest
// first.
type merge struct {
	*AuditLog
	control  []ClusterEvent
	branches []*backup.Ref // what each leads to next; nil: it has ended
	newest   *backup.Ref
	oldest   time.Time
	seen     map[string]bool
	walker   *walker // past what is damaged
}

// next gives the next event; false at the end.
func (m *merge) next(ctx context.Context) (ClusterEvent, bool, error) {
	for {
		first := -1
		for i, ref := range m.branches {
			if ref == nil || m.seen[ref.ID] || ref.Time.Before(m.oldest) && (m.newest == nil || ref.ID != m.newest.ID) {
				m.branches[i] = nil
			} else if first < 0 || refPlace(*ref).precedes(refPlace(*m.branches[first])) {
				first = i
			}
		}
		if len(m.control) > 0 && (first < 0 || !refPlace(*m.branches[first]).precedes(placeOf(m.control[0]))) {
			e := m.control[0]
			m.control = m.control[1:]
			return e, true, nil
		}
		if first < 0 {
			return ClusterEvent{}, false, nil
		}
		ref := *m.branches[first]
		m.seen[ref.ID] = true
		e, err := m.backup(ctx, ref)
		if errors.Is(err, blobstore.ErrNotFound) || Unusable(err) {
			e, err = m.damaged(ctx, ref)
		}
		if err != nil {
			return ClusterEvent{}, false, err
		}
		if m.branches[first] = e.previous; e.event.Key == "" {
			continue // expired, or signed by nothing but a key that has been retired
		}
		return e.event, true, nil
	}
}

// damaged tells of a backup whose manifest cannot be used, and finds the one
// before it; nothing where the branch has ended.
func (m *merge) damaged(ctx context.Context, ref backup.Ref) (backupEvent, error) {
	s, err := m.walker.step(ctx, ref)
	if err != nil || s.ended {
		return backupEvent{}, err
	}
	if s.found[0].Damaged == "" {
		return m.backup(ctx, ref) // it has come back
	}
	return backupEvent{previous: s.previous, event: ClusterEvent{
		Key: ref.Key, Kind: UnverifiedKind, Time: ref.Time, Epoch: ref.Epoch, Backup: ref.ID,
		Text: fmt.Sprintf("the manifest of backup %s cannot be used: %s", ref.ID, s.found[0].Damaged),
	}}, nil
}

// place is where an event is in the order of the log: by epoch, then by
// time.
type place struct {
	epoch uint64
	nano  int64
	key   string
}

func placeOf(e ClusterEvent) place { return place{e.Epoch, e.Time.UnixNano(), e.Key} }

func refPlace(r backup.Ref) place { return place{r.Epoch, r.Time.UnixNano(), r.Key} }

func (p place) compare(q place) int {
	return cmp.Or(cmp.Compare(p.epoch, q.epoch), cmp.Compare(p.nano, q.nano), cmp.Compare(p.key, q.key))
}

// precedes reports whether p comes before q when the newest comes first.
func (p place) precedes(q place) bool { return p.compare(q) > 0 }

func (p place) String() string { return fmt.Sprintf("%d.%d.%s", p.epoch, p.nano, p.key) }

func parsePlace(text string) (p place, err error) {
	if text == "" {
		return p, nil
	}
	part := strings.SplitN(text, ".", 3)
	if len(part) == 3 {
		p.key = part[2]
		if p.epoch, err = strconv.ParseUint(part[0], 10, 64); err == nil {
			p.nano, err = strconv.ParseInt(part[1], 10, 64)
		}
	}
	if len(part) != 3 || err != nil {
		return p, ha.Invalidf("%q is no place in the history: take what the page before gave as next", text)
	}
	return p, nil
}

package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
)

// ClusterEvent is one thing that happened to the cluster, as a signed object in
// the bucket tells: every instance sees the same.
type ClusterEvent struct {
	Key      string         `json:"key"`                                                              // of the object, in the bucket
	Kind     string         `json:"kind" enum:"cluster,backup,promotion,demotion,salvage,unverified"` //
	Time     time.Time      `json:"time"`                                                             // by the clock of whoever wrote it, for people
	Epoch    uint64         `json:"epoch"`
	Instance string         `json:"instance,omitempty"` // that did it
	By       string         `json:"by,omitempty"`       // who asked for it
	Reason   string         `json:"reason,omitempty"`
	Mode     ha.Mode        `json:"mode,omitempty"`    // of a promotion
	Trigger  backup.Trigger `json:"trigger,omitempty"` // of a backup
	Backup   string         `json:"backup,omitempty"`  // id of the backup made or restored
	Text     string         `json:"text"`              // one sentence
}

// Kinds of cluster events.
const (
	clusterKind    = "cluster" // it was made
	backupKind     = "backup"
	promotionKind  = "promotion"
	demotionKind   = "demotion"
	salvageKind    = "salvage"
	unverifiedKind = "unverified" // somebody without the key wrote the object
)

// ClusterHistory is a page of what happened to a cluster, newest first.
type ClusterHistory struct {
	Events []ClusterEvent `json:"events" nullable:"false"`
	// Next asks for the next page; empty: this is the last.
	Next string `json:"next,omitempty"`
	// OlderHead says that the bucket shows an older head than this instance has
	// seen, so that the end of the history may be missing; "": it does not.
	OlderHead string `json:"older_head,omitempty"`
}

// DefaultPage is how many cluster events a page has unless told otherwise.
const DefaultPage = 100

// chronicle remembers the parts of a cluster's history that never change, once
// they are verified. It is safe for concurrent use.
type chronicle struct {
	bucket    *Bucket
	manifests *manifests

	mu       sync.Mutex
	controls map[string]controlEvent // by key
	backups  map[string]backupEvent  // by the manifest's digest
}

type controlEvent struct {
	token blobstore.Token
	event ClusterEvent
	cut   *backup.Ref // the branch that a promotion cut off
}

type backupEvent struct {
	event    ClusterEvent
	previous *backup.Ref
}

// maxBackupEvents is how many backups' events are kept in memory: half a
// kilobyte each.
const maxBackupEvents = 20_000

func newChronicle(b *Bucket, m *manifests) *chronicle {
	return &chronicle{bucket: b, manifests: m, controls: make(map[string]controlEvent), backups: make(map[string]backupEvent)}
}

// ClusterHistory reads a page of the cluster's history from the bucket, every
// object verified: at most limit events (0: DefaultPage), those after the page
// that gave before as its Next ("": the newest). It needs no running agent.
func (b *Bucket) ClusterHistory(ctx context.Context, before string, limit int) (ClusterHistory, error) {
	h, err := b.Head(ctx)
	if err != nil {
		return ClusterHistory{}, err
	}
	var keep time.Duration
	if c, err := b.Config(ctx, h); err == nil {
		keep = time.Duration(c.Retention)
	}
	return newChronicle(b, newManifests(b.Repository(), nil)).page(ctx, h, keep, before, limit)
}

// ClusterHistory is Bucket.ClusterHistory, and remembers what it has verified.
func (a *Agent) ClusterHistory(ctx context.Context, before string, limit int) (ClusterHistory, error) {
	seen := a.view().Seen
	h, err := a.bucket.Head(ctx)
	if err != nil {
		return ClusterHistory{}, err
	}
	var keep time.Duration
	if c, err := a.configs.get(ctx, h.Config); err == nil {
		keep = a.standing(c).Effective.Keep
	}
	page, err := a.chronicle.page(ctx, h, keep, before, limit)
	page.OlderHead = olderText(h, seen)
	return page, err
}

// page merges what the control objects tell with the branches of the chain of
// backups, and loads no more of these than it must.
func (c *chronicle) page(ctx context.Context, h *ha.Head, keep time.Duration, before string, limit int) (ClusterHistory, error) {
	if limit <= 0 {
		limit = DefaultPage
	}
	from, err := parsePlace(before)
	if err != nil {
		return ClusterHistory{}, err
	}
	walker := c.bucket.walker(h, c.manifests, keep)
	control, branches, err := c.demotions(ctx, h, walker)
	if err != nil {
		return ClusterHistory{}, err
	}
	m := merge{chronicle: c, control: control, branches: branches, newest: h.Newest, seen: make(map[string]bool), walker: walker}
	m.oldest = m.walker.oldest
	page := ClusterHistory{Events: []ClusterEvent{}}
	for {
		e, more, err := m.next(ctx)
		switch {
		case err != nil:
			return page, err
		case !more:
			return page, nil
		case before != "" && !from.precedes(placeOf(e)):
			continue
		case len(page.Events) == limit:
			page.Next = placeOf(page.Events[limit-1]).String()
			return page, nil
		}
		page.Events = append(page.Events, e)
	}
}

// demotions tells what the control objects tell, newest first, and gives the
// tips of the branches.
func (c *chronicle) demotions(ctx context.Context, h *ha.Head, w *walker) ([]ClusterEvent, []*backup.Ref, error) {
	const folder = "demote/"
	listed, names, err := c.bucket.names(ctx, folder)
	if err != nil {
		return nil, nil, err
	}
	events := make([]ClusterEvent, 0, len(names)+1)
	branches := []*backup.Ref{h.Newest, h.CutOff}
	known := make(map[string]controlEvent, len(names)+1)
	for _, attrs := range append(listed, blobstore.Attrs{Key: ha.ClusterKey}) {
		e, err := c.control(ctx, attrs)
		if errors.Is(err, blobstore.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		known[attrs.Key] = e
		events, branches = append(events, e.event), append(branches, e.cut)
	}
	c.mu.Lock()
	c.controls = known
	c.mu.Unlock()
	events, err = c.addSalvages(ctx, events, w)
	if err != nil {
		return nil, nil, err
	}
	slices.SortFunc(events, func(x, y ClusterEvent) int { return placeOf(y).compare(placeOf(x)) })
	return events, branches, nil
}

// addSalvages tells of the salvage backups that no record tells of.
func (c *chronicle) addSalvages(ctx context.Context, events []ClusterEvent, w *walker) ([]ClusterEvent, error) {
	recorded := make(map[string]bool)
	for _, e := range events {
		recorded[e.Backup] = recorded[e.Backup] || e.Kind == salvageKind
	}
	all, err := c.bucket.salvages(ctx, c.manifests, mostSalvages, func(ref backup.Ref, _ time.Time) bool {
		return !recorded[ref.ID] && !w.expired(ref)
	})
	for _, s := range all {
		e := ClusterEvent{Key: s.ref.Key, Kind: unverifiedKind, Time: s.ref.Time.Truncate(time.Second), Epoch: s.ref.Epoch + 1, Backup: s.ref.ID}
		if s.err != nil {
			e.Text = fmt.Sprintf("the manifest of salvage backup %s cannot be used: %v", s.ref.ID, s.err)
		} else {
			e.Kind, e.Instance = salvageKind, s.m.Instance
			e.Text = s.m.Instance + " kept its state: salvage backup " + s.ref.ID
		}
		events = append(events, e)
	}
	return events, err
}

// control tells what one control object tells. One that was told before, and
// is still the same, is not read again.
func (c *chronicle) control(ctx context.Context, attrs blobstore.Attrs) (controlEvent, error) {
	c.mu.Lock()
	known, found := c.controls[attrs.Key]
	c.mu.Unlock()
	if found && known.token == attrs.Token && (attrs.Token != "" || attrs.Key == ha.ClusterKey && known.event.Kind != unverifiedKind) {
		return known, nil
	}
	object, _, err := c.bucket.read(ctx, kindOf(attrs.Key), attrs.Key, "")
	e := controlEvent{token: attrs.Token}
	switch {
	case errors.Is(err, ErrUnverified):
		e.event = ClusterEvent{Kind: unverifiedKind, Time: attrs.Time, Epoch: epochIn(attrs.Key), Text: err.Error()}
	case err != nil:
		return e, err
	default:
		e.event, e.cut = controlTells(object)
	}
	e.event.Key = attrs.Key
	return e, nil
}

// forget has objects read again.
func (c *chronicle) forget(keys map[string]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.controls, func(key string, _ controlEvent) bool { return keys[key] })
	maps.DeleteFunc(c.backups, func(_ string, e backupEvent) bool { return keys[e.event.Key] })
}

// epochIn reads the epoch in the name of an object under demote/.
func epochIn(key string) uint64 {
	name, _, _ := strings.Cut(strings.TrimPrefix(key, "demote/"), ".")
	n, _ := strconv.ParseUint(name, 10, 64) // 0 where there is none
	return n
}

// controlTells says what a verified control object tells, and which branch it
// cut off.
func controlTells(object any) (e ClusterEvent, cut *backup.Ref) {
	switch o := object.(type) {
	case *ha.Cluster:
		return ClusterEvent{Kind: clusterKind, Time: o.Time, Text: "the cluster was made"}, nil
	case *ha.Marker:
		e = ClusterEvent{Kind: promotionKind, Time: o.Time, Epoch: o.Epoch, Instance: o.Active.Name, By: o.By, Reason: o.Reason, Mode: o.Mode}
		if o.Recovery != nil {
			e.Kind, e.Text = recoveryKind, recoveryTells(o.Recovery, o.Active.Name)
			return e, o.CutOff
		}
		e.Text = o.Active.Name + " became the active"
		if o.Old.Name != "" && o.Old.Name != o.Active.Name {
			e.Text += " in place of " + o.Old.Name
		}
		if o.Mode != "" {
			e.Text += ", by " + string(o.Mode)
		}
		if o.HostIsOff {
			e.Text += ", on the word that the host of the old active is off"
		}
		if o.AppIsStopped {
			e.Text += ", on the word that the application of the old active is stopped"
		}
		if o.Restored != nil {
			e.Backup = o.Restored.ID
			e.Text += ", from backup " + e.Backup
		}
		if o.CutOff != nil {
			e.Text += "; what came after it, up to " + o.CutOff.ID + ", is superseded"
		}
		return e, o.CutOff
	case *ha.Ack:
		e = ClusterEvent{Kind: demotionKind, Time: o.Time, Epoch: o.Epoch, Instance: o.Instance.Name}
		e.Text = o.Instance.Name + " stepped down: its application has stopped"
		if o.Unstopped {
			e.Text = o.Instance.Name + " stepped down: nothing there can stop its application, and whether that runs is not known"
		}
		return e, nil
	case *ha.SalvageRecord:
		e = ClusterEvent{Kind: salvageKind, Time: o.Time, Epoch: o.Epoch, Instance: o.Instance.Name}
		e.Text = o.Instance.Name + " had nothing that its successor lacks"
		if o.Backup != nil {
			e.Backup = o.Backup.ID
			e.Text = o.Instance.Name + " kept what never reached its successor: salvage backup " + e.Backup
		}
		if o.Unstopped {
			e.Text += "; nothing there can stop its application, and what that has written since is in no backup"
		}
		return e, nil
	}
	return e, nil
}

// backup tells of one backup, by its verified manifest.
func (c *chronicle) backup(ctx context.Context, ref backup.Ref) (backupEvent, error) {
	c.mu.Lock()
	known, found := c.backups[ref.Digest]
	c.mu.Unlock()
	if found {
		return known, nil
	}
	m, err := c.manifests.get(ctx, ref)
	if err != nil {
		return backupEvent{}, err
	}
	e := backupEvent{previous: m.Previous, event: ClusterEvent{
		Key: ref.Key, Kind: backupKind, Time: ref.Time, Epoch: ref.Epoch, Instance: m.Instance, By: m.By, Reason: m.Reason,
		Trigger: m.Trigger, Backup: ref.ID, Text: fmt.Sprintf("%s published backup %s (%s)", m.Instance, ref.ID, m.Trigger),
	}}
	c.mu.Lock()
	defer c.mu.Unlock()
	for digest := range c.backups {
		if len(c.backups) < maxBackupEvents {
			break
		}
		delete(c.backups, digest)
	}
	c.backups[ref.Digest] = e
	return e, nil
}

// merge gives the events of control objects and branches in one order, newest
// first.
type merge struct {
	*chronicle
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
		if errors.Is(err, blobstore.ErrNotFound) || unusable(err) {
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
		Key: ref.Key, Kind: unverifiedKind, Time: ref.Time, Epoch: ref.Epoch, Backup: ref.ID,
		Text: fmt.Sprintf("the manifest of backup %s cannot be used: %s", ref.ID, s.found[0].Damaged),
	}}, nil
}

// place is where an event is in the order of the history: by epoch, then by
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
		return p, invalid("%q is no place in the history: take what the page before gave as next", text)
	}
	return p, nil
}

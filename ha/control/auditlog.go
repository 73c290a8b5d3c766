package control

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
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
	ClusterKind    = "cluster" // it was made
	BackupKind     = "backup"
	RecoveryKind   = "recovery" // a cluster went on from a bucket that was put back
	PromotionKind  = "promotion"
	DemotionKind   = "demotion"
	SalvageKind    = "salvage"
	UnverifiedKind = "unverified" // somebody without the key wrote the object
)

// ClusterHistory is a page of a cluster's audit log, newest first.
type ClusterHistory struct {
	Events []ClusterEvent `json:"events" nullable:"false"`
	// Next asks for the next page; empty: this is the last.
	Next string `json:"next,omitempty"`
	// OlderHead says that the bucket shows an older head than this instance has
	// seen, so that the end of the log may be missing; "": it does not.
	OlderHead string `json:"older_head,omitempty"`
}

// DefaultPage is how many cluster events a page has unless told otherwise.
const DefaultPage = 100

// AuditLog is what happened to a cluster, as the bucket tells. It remembers the parts
// that never change, once they are verified. It is safe for concurrent use.
type AuditLog struct {
	chain *Chain

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

// NewAuditLog is the audit log of a chain's cluster.
func NewAuditLog(c *Chain) *AuditLog {
	return &AuditLog{chain: c, controls: make(map[string]controlEvent), backups: make(map[string]backupEvent)}
}

// Page reads a page, every object verified: at most limit events (0: DefaultPage),
// those after the page that returned before as its Next ("": the newest).
func (l *AuditLog) Page(ctx context.Context, before string, limit int) (ClusterHistory, error) {
	h, err := l.chain.store.Head(ctx)
	if err != nil {
		return ClusterHistory{}, err
	}
	return l.PageFrom(ctx, h, l.chain.store.retention(ctx, h), before, limit)
}

// PageFrom is Page by a head that was read, and by a retention; 0: it is not known. It
// merges what the control objects tell with the branches of the chain of backups, and
// loads no more of these than it must.
func (l *AuditLog) PageFrom(ctx context.Context, h *ha.Head, keep time.Duration, before string, limit int) (ClusterHistory, error) {
	if limit <= 0 {
		limit = DefaultPage
	}
	from, err := parsePlace(before)
	if err != nil {
		return ClusterHistory{}, err
	}
	walker := l.chain.walker(h, keep)
	control, branches, err := l.demotions(ctx, h, walker)
	if err != nil {
		return ClusterHistory{}, err
	}
	m := merge{AuditLog: l, control: control, branches: branches, newest: h.Newest, seen: make(map[string]bool), walker: walker}
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
func (l *AuditLog) demotions(ctx context.Context, h *ha.Head, w *walker) ([]ClusterEvent, []*backup.Ref, error) {
	listed, names, err := l.chain.store.List(ctx, DemoteFolder)
	if err != nil {
		return nil, nil, err
	}
	events := make([]ClusterEvent, 0, len(names)+1)
	branches := []*backup.Ref{h.Newest, h.CutOff}
	known := make(map[string]controlEvent, len(names)+1)
	for _, attrs := range append(listed, blobstore.Attrs{Key: ha.ClusterKey}) {
		e, err := l.control(ctx, attrs)
		if errors.Is(err, blobstore.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		known[attrs.Key] = e
		events, branches = append(events, e.event), append(branches, e.cut)
	}
	l.mu.Lock()
	l.controls = known
	l.mu.Unlock()
	events, err = l.addSalvages(ctx, events, w)
	if err != nil {
		return nil, nil, err
	}
	slices.SortFunc(events, func(x, y ClusterEvent) int { return placeOf(y).compare(placeOf(x)) })
	return events, branches, nil
}

// addSalvages tells of the salvage backups that no record tells of.
func (l *AuditLog) addSalvages(ctx context.Context, events []ClusterEvent, w *walker) ([]ClusterEvent, error) {
	recorded := make(map[string]bool)
	for _, e := range events {
		recorded[e.Backup] = recorded[e.Backup] || e.Kind == SalvageKind
	}
	all, err := l.chain.salvages(ctx, mostSalvages, func(ref backup.Ref, _ time.Time) bool {
		return !recorded[ref.ID] && !w.expired(ref)
	})
	for _, s := range all {
		e := ClusterEvent{Key: s.ref.Key, Kind: UnverifiedKind, Time: s.ref.Time.Truncate(time.Second), Epoch: s.ref.Epoch + 1, Backup: s.ref.ID}
		if s.err != nil {
			e.Text = fmt.Sprintf("the manifest of salvage backup %s cannot be used: %v", s.ref.ID, s.err)
		} else {
			e.Kind, e.Instance = SalvageKind, s.m.Instance
			e.Text = s.m.Instance + " kept its state: salvage backup " + s.ref.ID
		}
		events = append(events, e)
	}
	return events, err
}

// control tells what one control object tells. One that was told before, and
// is still the same, is not read again.
func (l *AuditLog) control(ctx context.Context, attrs blobstore.Attrs) (controlEvent, error) {
	l.mu.Lock()
	known, found := l.controls[attrs.Key]
	l.mu.Unlock()
	if found && known.token == attrs.Token && (attrs.Token != "" || attrs.Key == ha.ClusterKey && known.event.Kind != UnverifiedKind) {
		return known, nil
	}
	object, _, err := l.chain.store.Read(ctx, KindOf(attrs.Key), attrs.Key, "")
	e := controlEvent{token: attrs.Token}
	switch {
	case errors.Is(err, ErrUnverified):
		e.event = ClusterEvent{Kind: UnverifiedKind, Time: attrs.Time, Epoch: EpochIn(attrs.Key), Text: err.Error()}
	case err != nil:
		return e, err
	default:
		e.event, e.cut = controlTells(object)
	}
	e.event.Key = attrs.Key
	return e, nil
}

// Forget has objects read again.
func (l *AuditLog) Forget(keys map[string]bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.controls, func(key string, _ controlEvent) bool { return keys[key] })
	maps.DeleteFunc(l.backups, func(_ string, e backupEvent) bool { return keys[e.event.Key] })
}

// backup tells of one backup, by its verified manifest.
func (l *AuditLog) backup(ctx context.Context, ref backup.Ref) (backupEvent, error) {
	l.mu.Lock()
	known, found := l.backups[ref.Digest]
	l.mu.Unlock()
	if found {
		return known, nil
	}
	m, err := l.chain.Manifest(ctx, ref)
	if err != nil {
		return backupEvent{}, err
	}
	e := backupEvent{previous: m.Previous, event: ClusterEvent{
		Key: ref.Key, Kind: BackupKind, Time: ref.Time, Epoch: ref.Epoch, Instance: m.Instance, By: m.By, Reason: m.Reason,
		Trigger: m.Trigger, Backup: ref.ID, Text: fmt.Sprintf("%s published backup %s (%s)", m.Instance, ref.ID, m.Trigger),
	}}
	l.mu.Lock()
	defer l.mu.Unlock()
	for digest := range l.backups {
		if len(l.backups) < maxBackupEvents {
			break
		}
		delete(l.backups, digest)
	}
	l.backups[ref.Digest] = e
	return e, nil
}

package control

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha"
)

// DefaultList is how many backups a page lists unless told otherwise.
const DefaultList = 200

// BackupList is a page of the cluster's backups.
type BackupList struct {
	Backups []BackupInfo `json:"backups" nullable:"false"`
	// Next is what to ask for to get the page that follows: the id of this
	// page's last backup. Empty: nothing follows.
	Next string `json:"next,omitempty"`
	// Damaged are the control objects that cannot be verified. A backup that
	// only such an object names is not listed.
	Damaged []DamagedObject `json:"damaged,omitempty"`
	// OlderHead says that the bucket shows an older head than this instance has
	// seen, so that newer backups may be missing; "": it does not.
	OlderHead string `json:"older_head,omitempty"`
}

// DamagedObject is an object of the bucket that cannot be verified.
type DamagedObject struct {
	Key    string `json:"key"`
	Reason string `json:"reason"`
}

// List lists the backups of the cluster, newest first: those that the head
// leads to, those that promotions have cut off, and salvage backups; at most
// limit (0: DefaultList) of those that come after the one with the id before
// ("": from the newest on), and none older than retention, except the newest,
// nor one that only a retired key has signed. One whose manifest is damaged is
// listed with the reason, and the others go on.
func (c *Chain) List(ctx context.Context, before string, limit int) (BackupList, error) {
	p, err := PageOf(before, limit)
	if err != nil {
		return BackupList{}, err
	}
	h, err := c.store.Head(ctx)
	if err != nil {
		return BackupList{}, err
	}
	list, err := c.PageFrom(ctx, h, c.store.retention(ctx, h), p)
	if err != nil {
		return list, err
	}
	rehearsed, err := c.store.rehearsals(ctx)
	for i := range list.Backups {
		list.Backups[i].Rehearsals = rehearsed[list.Backups[i].ID]
	}
	return list, err
}

// Page is a part of the list of backups: at most limit backups (0: DefaultList),
// those that come after one in the list.
type Page struct {
	limit int
	after *backup.Ref // nil: from the newest on
}

// PageOf is the page of at most limit backups that come after the one with the id
// before; "": from the newest on.
func PageOf(before string, limit int) (Page, error) {
	p := Page{limit: limit}
	if before == "" {
		return p, nil
	}
	after, err := backup.ParseID(before)
	if err != nil {
		return p, ha.Invalidf("%v", err)
	}
	p.after = &after
	return p, nil
}

func (p Page) size() int {
	if p.limit <= 0 {
		return DefaultList
	}
	return p.limit
}

// Has reports whether a backup comes after the page before.
func (p Page) Has(ref backup.Ref) bool { return p.after == nil || NewestFirst(ref, *p.after) > 0 }

// Cut makes a page of all that it has, and of what follows it.
func (p Page) Cut(all []BackupInfo) BackupList {
	slices.SortStableFunc(all, func(x, y BackupInfo) int { return NewestFirst(x.Ref, y.Ref) })
	list := BackupList{Backups: all}
	if len(all) > p.size() {
		list.Backups = all[:p.size()]
		list.Next = list.Backups[p.size()-1].ID
	}
	return list
}

// NewestFirst is the order in which people see backups: by when they were made,
// whatever their epoch, so that a salvage backup stands among those of its time.
// The times are by the clocks of those who made them. Nothing is decided by this
// order: the protocol goes by (epoch, sequence).
func NewestFirst(x, y backup.Ref) int {
	return cmp.Or(y.Time.Truncate(time.Second).Compare(x.Time.Truncate(time.Second)),
		cmp.Compare(y.Sequence, x.Sequence), cmp.Compare(y.Epoch, x.Epoch), strings.Compare(y.ID, x.ID))
}

// OlderText says that a head is older than one that was seen before
// it was read; "" when it is not.
func OlderText(h *ha.Head, seen ha.Position) string {
	if h.IsOlder(seen) {
		return ha.OlderText(h, seen)
	}
	return ""
}

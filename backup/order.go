package backup

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/retention"
	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/blobstore"
)

// Order is what a backup is to be.
type Order struct {
	Epoch      uint64
	Sequence   uint64
	Previous   *Ref // nil for the first of a cluster
	Trigger    Trigger
	By, Reason string
	Notes      []string // warnings, about the backup as a whole
	Instance   string
	AppVersion string
	Version    string
	Salvage    bool // written under salvage/ instead of backups/
	// PreviousManifest, when set, is the manifest of Previous, verified, which
	// then need not be read from the bucket.
	PreviousManifest *Manifest
	// OnlyIfChanged stores nothing when no source differs from the previous
	// backup: Write then answers with the previous backup and its manifest.
	OnlyIfChanged bool
	// FirstInEpoch makes the writer check the packs that it reuses with a HEAD
	// each, instead of trusting the times in the index.
	FirstInEpoch bool
	// Full reads everything and stores it again: the backup refers to no earlier
	// pack.
	Full bool
	// Missing are packs that are known not to be in the bucket: what is in them is
	// read and stored again.
	Missing map[pack.Digest]bool
	// CheckPacks makes the writer list the bucket's packs meanwhile, if the
	// backup builds on at most so many, and treat as missing those that the list
	// lacks. Lost, where it is set, is told of them. 0: it does not look.
	CheckPacks int
	Lost       func(context.Context, []pack.Info)
	// Lock is how packs and manifests are locked, for as long as they live; the
	// zero value does not.
	Lock blobstore.LockMode
	// ExtendLocks makes the writer look at the locks of the packs that it reuses,
	// and extend those that end too early: they were written under a shorter
	// retention, or before there were locks.
	ExtendLocks bool
	Retention   time.Duration // 0 is retention.DefaultKeep
	ReuseWindow time.Duration // 0 is retention.DefaultReuse, less is retention.NoReuse
	Keys        seal.DataKeys
	Sources     []source.Source
	// Moved says what is different about where a source lies, on this host, since
	// its entry last was written; nil: that is not looked at.
	Moved func(ctx context.Context, s source.Source, last source.Entry) ([]string, error)
	// Accept tells whether an operator has confirmed that a source has changed as
	// ChangedError says; nil: none has. A salvage backup accepts everything. What
	// was accepted is a warning in the source's entry.
	Accept func(source string) bool
	// Before and After are the quiesce hooks around the snapshot; After also
	// runs when the snapshot failed. Either may be nil.
	Before, After func(context.Context) error
	// Local, when set, is where packs are looked for before the bucket, and
	// where new metadata packs are put as well.
	Local LocalPacks
	Now   func() time.Time
	// StoreTime is the time by the store's clock, by which packs age; nil is
	// Now. What is published is checked against the store's own answer.
	StoreTime func() time.Time
	Random    io.Reader // nil is the system's
	Progress  func(Progress)
	Log       *slog.Logger // nil is slog.Default
}

// LocalPacks is a local folder of packs.
type LocalPacks interface {
	pack.Packs
	PutPack(ctx context.Context, d pack.Digest, data []byte) error
}

// Progress is how far a long piece of work has come.
type Progress struct {
	Step  string `json:"step"`  // "postgres db", "fetch packs", …
	Done  int64  `json:"done"`  // bytes
	Total int64  `json:"total"` // bytes; 0 when not known
}

// complete fills in what may be left out, and refuses what cannot be.
func (o Order) complete() (Order, error) {
	if o.Now == nil {
		return o, errors.New("no clock was given")
	}
	if o.StoreTime == nil {
		o.StoreTime = o.Now
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Previous == nil {
		o.PreviousManifest = nil
		return o, nil
	}
	if !o.Previous.precedes(o.Epoch, o.Sequence) {
		return o, fmt.Errorf("%s is no predecessor for epoch %d, sequence %d", o.Previous.ID, o.Epoch, o.Sequence)
	}
	if m := o.PreviousManifest; m != nil && m.ID != o.Previous.ID {
		return o, fmt.Errorf("manifest %s was given for the previous backup %s", m.ID, o.Previous.ID)
	}
	return o, nil
}

func (o Order) rules() retention.Policy {
	return retention.Policy{Keep: o.Retention, Reuse: o.ReuseWindow}
}

// progress tells of a step from several goroutines, one at a time.
type progress struct {
	mu   sync.Mutex
	tell func(Progress)
	at   Progress
	from int64 // bytes done when the step began
}

func (p *progress) step(name string, done, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at, p.from = Progress{Step: name, Total: total}, done
	p.send()
}

func (p *progress) done(done int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at.Done = done - p.from
	p.send()
}

func (p *progress) send() {
	if p.tell != nil && p.at.Step != "" {
		p.tell(p.at)
	}
}

// afterTimeout bounds the hook after the snapshot, which runs even when the
// backup is being cancelled.
const afterTimeout = 5 * time.Minute

// quiesced runs snapshot between the hooks. An application that was asked to
// hold still is always told to go on. The second error is that of After.
func quiesced(ctx context.Context, o Order, snapshot func() error) (err, after error) {
	if o.Before != nil {
		if err = o.Before(ctx); err != nil {
			err = fmt.Errorf("run the hook before the backup: %w", err)
		}
	}
	if err == nil {
		err = snapshot()
	}
	if o.After != nil {
		ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), afterTimeout,
			errors.New("the hook after the backup took too long"))
		defer cancel()
		if after = o.After(ctx); after != nil {
			after = fmt.Errorf("run the hook after the backup: %w", after)
		}
	}
	return err, after
}

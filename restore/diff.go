package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
)

// DiffSide is one of two backups that are compared, and where its packs are
// read.
type DiffSide struct {
	Repo     *backup.Repository
	Manifest *backup.Manifest
	Packs    pack.Packs
}

// DiffOptions say how two backups are compared. Their zero values are of use.
type DiffOptions struct {
	// Scratch is where a folder for temporary data is made; "" for the system's
	// own. See source.CompareOptions for how much that is.
	Scratch string
	// Limit is how many changes of each source are listed; 0 for all. All are
	// counted.
	Limit    int
	Progress func(backup.Progress) // may be nil
}

// SourceDiff says in what one source differs between two backups.
type SourceDiff struct {
	Name   string `json:"name"`
	Kind   string `json:"kind"`              // in B, unless it is only in A
	OnlyIn string `json:"only_in,omitempty"` // "a" or "b": the other backup does not have this source
	source.Difference
	Changes []source.Change `json:"changes,omitempty"`         // of files, and rows of SQLite tables
	Omitted int64           `json:"changes_omitted,omitempty"` // how many more there are
	Error   string          `json:"error,omitempty"`           // why it could not be compared
}

// Diff compares two backups of one cluster source by source, in the order of
// B's. What has the same root is not read. A source that cannot be compared
// does not keep the others from it: its SourceDiff says why, and so does the
// error, which then comes with the result.
func Diff(ctx context.Context, a, b DiffSide, opt DiffOptions) ([]SourceDiff, error) {
	diffs, err := diff(ctx, a, b, opt)
	if err != nil {
		return diffs, fmt.Errorf("compare backups %s and %s: %w", a.Manifest.ID, b.Manifest.ID, err)
	}
	return diffs, nil
}

func diff(ctx context.Context, a, b DiffSide, opt DiffOptions) (_ []SourceDiff, err error) {
	d := differ{a: a, b: b, opt: opt}
	if d.sameKeys, err = sameKeys(a, b); err != nil {
		return nil, err
	}
	if d.scratch, err = os.MkdirTemp(opt.Scratch, "understudy-diff-"); err != nil {
		return nil, fmt.Errorf("make scratch folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(d.scratch)) }()
	var diffs []SourceDiff
	var errs []error
	for _, p := range pairs(a.Manifest.Sources, b.Manifest.Sources) {
		if ctx.Err() != nil {
			return diffs, errors.Join(append(errs, ctx.Err())...)
		}
		s, err := d.source(ctx, p)
		if err != nil {
			s.Error = err.Error()
			errs = append(errs, err)
		}
		diffs = append(diffs, s)
	}
	return diffs, errors.Join(errs...)
}

// sameKeys tells whether two backups have the same data keys.
func sameKeys(a, b DiffSide) (bool, error) {
	keysA, err := a.Repo.Ring.Unwrap(a.Manifest.DataKey, a.Repo.Cluster)
	if err != nil {
		return false, fmt.Errorf("open backup %s: %w", a.Manifest.ID, err)
	}
	keysB, err := b.Repo.Ring.Unwrap(b.Manifest.DataKey, b.Repo.Cluster)
	if err != nil {
		return false, fmt.Errorf("open backup %s: %w", b.Manifest.ID, err)
	}
	return keysA == keysB, nil
}

// pair is what two backups have of one source; nil: nothing.
type pair struct{ a, b *source.Entry }

func pairs(a, b []source.Entry) []pair {
	var all []pair
	for i := range b {
		p := pair{b: &b[i]}
		if at := slices.IndexFunc(a, func(e source.Entry) bool { return e.Name == b[i].Name }); at >= 0 {
			p.a = &a[at]
		}
		all = append(all, p)
	}
	for i := range a {
		if !slices.ContainsFunc(b, func(e source.Entry) bool { return e.Name == a[i].Name }) {
			all = append(all, pair{a: &a[i]})
		}
	}
	return all
}

// differ is one run of Diff.
type differ struct {
	a, b             DiffSide
	opt              DiffOptions
	sameKeys         bool
	scratch          string
	readerA, readerB *pack.Reader // nil until something has to be read
}

func (d *differ) source(ctx context.Context, p pair) (SourceDiff, error) {
	switch {
	case p.a == nil:
		return SourceDiff{Name: p.b.Name, Kind: p.b.Kind, OnlyIn: "b"}, nil
	case p.b == nil:
		return SourceDiff{Name: p.a.Name, Kind: p.a.Kind, OnlyIn: "a"}, nil
	}
	s := SourceDiff{Name: p.b.Name, Kind: p.b.Kind}
	switch {
	case p.a.Kind != p.b.Kind:
		s.Notes = []string{fmt.Sprintf("it is a %s in A, and a %s in B", p.a.Kind, p.b.Kind)}
		return s, nil
	case source.Identical(*p.a, *p.b, d.sameKeys):
		s.Same = true
		return s, nil
	}
	if err := d.open(ctx); err != nil {
		return s, err
	}
	var err error
	s.Difference, err = source.Compare(ctx,
		source.Side{Entry: *p.a, Reader: d.readerA}, source.Side{Entry: *p.b, Reader: d.readerB},
		source.CompareOptions{SameKeys: d.sameKeys, Scratch: d.scratch, Found: s.list(d.opt.Limit), Read: d.counter(p)})
	return s, err
}

// open opens both backups.
func (d *differ) open(ctx context.Context) (err error) {
	if d.readerA != nil {
		return nil
	}
	if d.readerB, _, err = d.b.Repo.Open(ctx, d.b.Manifest, d.b.Packs); err != nil {
		return err
	}
	d.readerA, _, err = d.a.Repo.Open(ctx, d.a.Manifest, d.a.Packs)
	return err
}

// list keeps changes, up to a limit.
func (s *SourceDiff) list(limit int) func(source.Change) error {
	return func(c source.Change) error {
		if limit > 0 && len(s.Changes) >= limit {
			s.Omitted++
			return nil
		}
		s.Changes = append(s.Changes, c)
		return nil
	}
}

// counter reports how much of a source has been read. How much that will be is
// not known: files that do not differ are not read.
func (d *differ) counter(p pair) func(int64) {
	if d.opt.Progress == nil {
		return nil
	}
	now := backup.Progress{Step: "compare " + p.b.Kind + " " + p.b.Name}
	if !source.IsFiles(p.b.Kind) {
		now.Total = p.a.Root.Size + p.b.Root.Size
	}
	d.opt.Progress(now)
	return func(n int64) {
		now.Done += n
		d.opt.Progress(now)
	}
}

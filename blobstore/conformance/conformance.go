package conformance

import (
	"context"
	"io"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/understudy-ha/understudy/blobstore"
)

// Config says what is examined, and with what.
type Config struct {
	Store  blobstore.Store
	Random io.Reader        // names the scratch folder, and fills what is measured
	Now    func() time.Time // this host's clock; Full alone needs it
	// Began, when set, is told of each step of Full as it begins.
	Began func(step string)
}

// test finds out one thing.
type test struct {
	name    string
	promise string
	run     func(context.Context, *scratch) (finding, error)
}

func (t test) check(ctx context.Context, s *scratch) Check {
	return Check{Name: t.name, Promise: t.promise}.judge(t.run(ctx, s))
}

// Safety checks what a promotion rests on, with about eighty small requests,
// most of them at once: some ten round trips. The caller bounds its time by the
// context; what could not be checked in time has failed.
func Safety(ctx context.Context, c Config) (Report, error) {
	s, err := newScratch(c.Store, c.Random)
	if err != nil {
		return nil, err
	}
	report := together(ctx, s, safety)
	return append(report, cleanup.check(ctx, s)), nil
}

// fullTimeout bounds each step of Full.
const fullTimeout = 30 * time.Second

// Full checks what Safety does and, step by step, all else that doctor tells.
func Full(ctx context.Context, c Config) (Report, error) {
	s, err := newScratch(c.Store, c.Random)
	if err != nil {
		return nil, err
	}
	f := &full{Config: c, scratch: s}
	f.each(ctx, "permissions", permissions)
	if f.without == nil {
		f.without = f.report.failed(permissionPut, permissionGet)
	}
	f.atOnce(ctx, "promises", safety)
	m := &measurer{now: f.Now}
	f.each(ctx, "reads, clock and speed", slices.Concat(reads, m.tests()))
	f.begin("cleaning up")
	return append(f.report, cleanup.check(ctx, s)), nil
}

// full is one run of Full.
type full struct {
	Config
	*scratch
	report  Report
	without *Check // the failure after which it makes no sense to go on
}

func (f *full) begin(step string) {
	if f.Began != nil {
		f.Began(step)
	}
}

// each runs tests one after the other.
func (f *full) each(ctx context.Context, step string, tests []test) {
	f.begin(step)
	for i, t := range tests {
		if f.without != nil {
			f.skip(tests[i:])
			return
		}
		bounded, cancel := context.WithTimeout(ctx, fullTimeout)
		c := t.check(bounded, f.scratch)
		cancel()
		f.report = append(f.report, c)
		if c.hopeless() {
			f.without = &c
		}
	}
}

// atOnce runs tests that share no object.
func (f *full) atOnce(ctx context.Context, step string, tests []test) {
	f.begin(step)
	if f.without != nil {
		f.skip(tests)
		return
	}
	bounded, cancel := context.WithTimeout(ctx, fullTimeout)
	defer cancel()
	f.report = append(f.report, together(bounded, f.scratch, tests)...)
}

// skip reports tests that make no sense without what failed.
func (f *full) skip(tests []test) {
	for _, t := range tests {
		f.report = append(f.report, Check{
			Name: t.name, Promise: t.promise, Outcome: Failed, Err: f.without.Err,
			Detail: "not checked, because " + f.without.Name + " failed",
		})
	}
}

// together runs tests at once: none shares an object with another.
func together(ctx context.Context, s *scratch, tests []test) Report {
	report := make(Report, len(tests))
	var g errgroup.Group
	for i, t := range tests {
		g.Go(func() error {
			report[i] = t.check(ctx, s)
			return nil
		})
	}
	_ = g.Wait() // what went wrong is in the report
	return report
}

var cleanup = test{"cleanup", "what an examination writes can be deleted", func(ctx context.Context, s *scratch) (finding, error) { return s.clean(ctx) }}

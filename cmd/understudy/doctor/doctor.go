// Package doctor looks whether backups and promotions would be safe on this host: at
// the bucket and the cluster in it, at the sources, and at the hooks.
package doctor

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/understudy-ha/understudy/backup/outlet"
	"github.com/understudy-ha/understudy/cmd/understudy/agentclient"
	"github.com/understudy-ha/understudy/cmd/understudy/buckets"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/cmd/understudy/settings"
)

// Finding is what `doctor` says of one thing.
type Finding struct {
	Name   string `json:"name"`
	Result Result `json:"result"`
	Detail string `json:"detail"`
	// Promise is what the store must do, where the finding is about that.
	Promise string `json:"promise,omitempty"`
	// Values are what was measured, named with their units.
	Values map[string]float64 `json:"values,omitempty"`

	// Where is what the finding is about.
	Where Where `json:"where"`

	broken bool // the store does not keep the promise
}

// Where a problem is.
type Where string

// The bucket with the cluster and its key, and this host: its configuration, its sources,
// its hooks.
const (
	InBucket Where = "bucket"
	OnHost   Where = "host"
)

// placed says of findings what they are about.
func placed(where Where, found []Finding) []Finding {
	for i := range found {
		if found[i].Where == "" {
			found[i].Where = where
		}
	}
	return found
}

// Result is how good one thing is.
type Result string

// Results.
const (
	Good    Result = "ok"
	Warning Result = "warning"
	Bad     Result = "failed" // a backup or a promotion would fail, or be unsafe
)

// is makes a finding of a check's error.
func is(name string, err error, detail string) Finding {
	if err != nil {
		return Finding{Name: name, Result: Bad, Detail: err.Error()}
	}
	return Finding{Name: name, Result: Good, Detail: detail}
}

// Examiner looks at this host.
type Examiner struct {
	Set     *settings.Host
	Buckets buckets.Reader
	// Agent connects to the agent of this host.
	Agent func() (*agentclient.Client, error)
	// Keep reads what is printed by what a hook has left running.
	Keep outlet.Collector
	// Steps shows on a terminal what is being done; nil: nothing is shown.
	Steps io.Writer

	noCluster bool // in the bucket: this host is going to make one, as its active
}

// Examine looks at everything.
func (e *Examiner) Examine(ctx context.Context) []Finding {
	var found []Finding
	ring, err := e.Set.Ring()
	if err != nil {
		found = append(found, is("key", err, ""))
	}
	found = append(found, e.examineBucket(ctx, ring)...)
	return append(placed(InBucket, found), placed(OnHost, e.examineHost(ctx))...)
}

// examineHost looks at all that is not the bucket's.
func (e *Examiner) examineHost(ctx context.Context) []Finding {
	var found []Finding
	for _, problem := range e.Set.Exposed() {
		found = append(found, Finding{Name: "private files", Result: Warning, Detail: problem})
	}
	found = append(found, e.examineUser()...)
	c, err := e.Set.File(e.Keep)
	found = append(found, is("configuration", err, e.Set.Config))
	if err != nil {
		return found
	}
	found = append(found, e.examineSources(ctx, c.Sources)...)
	found = append(found, examineOpenFiles(ctx, c.Sources))
	found = append(found, examineVersion(ctx, c.Version)...)
	found = append(found, examineHooks(c.Hooks)...)
	found = append(found, examineFederation(c.Prometheus)...)
	return append(found, Boot(ctx, c.Hooks)...)
}

// Diagnosis is an error when a check failed.
func Diagnosis(found []Finding) error {
	failed, here, broken := 0, 0, []string(nil)
	for _, f := range found {
		if f.Result == Bad {
			failed++
			if f.Where == OnHost {
				here++
			}
		}
		if f.broken {
			broken = append(broken, f.Name)
		}
	}
	if failed == 0 {
		return nil
	}
	err := fmt.Errorf("%d of %d checks failed: a promotion would not be safe", failed, len(found))
	if len(broken) > 0 {
		err = fmt.Errorf("%w: the store breaks %s", err, strings.Join(broken, ", "))
	}
	if here == failed {
		return exit.With(exit.ErrHost, fmt.Errorf("%w; all of that is on this host", err))
	}
	return exit.With(exit.ErrBucket, err)
}

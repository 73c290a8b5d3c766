package storetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"sync"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/understudy-ha/understudy/blobstore"
)

// ErrInjected is the cause of the failures that Faulty makes up.
var ErrInjected = errors.New("injected fault")

// Op names an operation of a store.
type Op string

// The operations of a store. Any stands for each of them, and Conditional for
// a put with a condition.
const (
	Any         Op = ""
	Get         Op = "get"
	Stat        Op = "stat"
	Put         Op = "put"
	Conditional Op = "conditional put"
	List        Op = "list"
	Delete      Op = "delete"
)

// Forever as a fault's Times makes it stay.
const Forever = -1

// Fault says what goes wrong, and when.
type Fault struct {
	Op    Op     // which operation
	Key   string // which keys (or list prefixes): a pattern like "packs/**"; "" is all
	After int    // how many matching calls go well first
	Times int    // how many calls go wrong then; 0 means one
	Do    Action // what happens to them
}

// Action is what happens to a call that a fault strikes. The call's own work
// is do, which may be done or not.
type Action func(ctx context.Context, c Call, do func(context.Context) error) error

// Call is a call that a fault strikes.
type Call struct {
	Op   Op // never Any; Conditional for a conditional put
	Key  string
	body *bodyFault
}

// bodyFault is what a Get's body will suffer.
type bodyFault struct {
	cutAt, flipAt int64 // -1: not at all
}

// Faulty is a store that fails as it is told. Faults are asked in the order of
// their injection; the first that matches a call strikes it.
type Faulty struct {
	next blobstore.Store

	faults faults[Call, Action]

	mu    sync.Mutex
	calls []Call
}

var _ blobstore.Store = (*Faulty)(nil)

// NewFaulty returns a store that passes everything to next until faults are
// injected.
func NewFaulty(next blobstore.Store) *Faulty { return &Faulty{next: next} }

// Unwrap implements blobstore.Wrapper.
func (f *Faulty) Unwrap() blobstore.Store { return f.next }

// Inject adds faults.
func (f *Faulty) Inject(faults ...Fault) {
	for _, fault := range faults {
		f.faults.add(fault.After, fault.Times, fault.Do, fault.matches)
	}
}

// Heal takes all faults away.
func (f *Faulty) Heal() { f.faults.clear() }

// Calls returns the calls since the last time, failed ones included, in the
// order of their beginning.
func (f *Faulty) Calls() []Call {
	f.mu.Lock()
	defer f.mu.Unlock()
	calls := f.calls
	f.calls = nil
	return calls
}

// Count is the number of calls of an operation since Calls was last asked.
func (f *Faulty) Count(op Op) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, call := range f.calls {
		if op.matches(call.Op) {
			n++
		}
	}
	return n
}

// Get implements blobstore.Store.
func (f *Faulty) Get(ctx context.Context, key string, opt blobstore.GetOptions) (io.ReadCloser, blobstore.Attrs, error) {
	body := &bodyFault{cutAt: -1, flipAt: -1}
	var r io.ReadCloser
	var attrs blobstore.Attrs
	err := f.strike(ctx, Call{Op: Get, Key: key, body: body}, func(ctx context.Context) (err error) {
		r, attrs, err = f.next.Get(ctx, key, opt)
		return err
	})
	if err != nil {
		if r != nil {
			r.Close()
		}
		return nil, blobstore.Attrs{}, err
	}
	return &faultyBody{ReadCloser: r, fault: *body}, attrs, nil
}

// Stat implements blobstore.Store.
func (f *Faulty) Stat(ctx context.Context, key string) (attrs blobstore.Attrs, err error) {
	err = f.strike(ctx, Call{Op: Stat, Key: key}, func(ctx context.Context) (err error) {
		attrs, err = f.next.Stat(ctx, key)
		return err
	})
	if err != nil {
		return blobstore.Attrs{}, err
	}
	return attrs, nil
}

// Put implements blobstore.Store.
func (f *Faulty) Put(ctx context.Context, key string, body []byte, cond blobstore.Condition) (blobstore.Attrs, error) {
	op := Put
	if cond.Conditional() {
		op = Conditional
	}
	body = slices.Clone(body) // a held write outlives the call
	var mu sync.Mutex
	var attrs blobstore.Attrs
	err := f.strike(ctx, Call{Op: op, Key: key}, func(ctx context.Context) error {
		got, err := f.next.Put(ctx, key, body, cond)
		mu.Lock()
		defer mu.Unlock()
		attrs = got
		return err
	})
	if err != nil {
		return blobstore.Attrs{}, err
	}
	mu.Lock()
	defer mu.Unlock()
	return attrs, nil
}

// List implements blobstore.Store. A fault strikes the start of a list.
func (f *Faulty) List(ctx context.Context, prefix, after string) iter.Seq2[blobstore.Attrs, error] {
	return func(yield func(blobstore.Attrs, error) bool) {
		err := f.strike(ctx, Call{Op: List, Key: prefix}, func(context.Context) error { return nil })
		if err != nil {
			yield(blobstore.Attrs{}, err)
			return
		}
		f.next.List(ctx, prefix, after)(yield)
	}
}

// Delete implements blobstore.Store.
func (f *Faulty) Delete(ctx context.Context, key string) error {
	return f.strike(ctx, Call{Op: Delete, Key: key}, func(ctx context.Context) error {
		return f.next.Delete(ctx, key)
	})
}

// strike does a call's work, or lets the fault have it that matches.
func (f *Faulty) strike(ctx context.Context, c Call, do func(context.Context) error) error {
	if action := f.record(c); action != nil {
		return action(ctx, c, do)
	}
	return do(ctx)
}

func (f *Faulty) record(c Call) Action {
	f.mu.Lock()
	f.calls = append(f.calls, Call{Op: c.Op, Key: c.Key})
	f.mu.Unlock()
	return f.faults.strike(c)
}

func (f Fault) matches(c Call) bool {
	if !f.Op.matches(c.Op) {
		return false
	}
	if f.Key == "" {
		return true
	}
	ok, err := doublestar.Match(f.Key, c.Key)
	if err != nil {
		panic(fmt.Sprintf("storetest: pattern %q of a fault: %v", f.Key, err))
	}
	return ok
}

func (op Op) matches(called Op) bool {
	return op == Any || op == called || op == Put && called == Conditional
}

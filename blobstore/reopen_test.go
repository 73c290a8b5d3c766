package blobstore_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
)

// rotating opens stores on one memory: each is denied once the credentials with
// which it was opened are no longer those that are good.
type rotating struct {
	memory *storetest.Memory
	good   int // the credentials that the bucket takes
	file   int // those that lie in the file
	opened int
}

type keyed struct {
	*storetest.Faulty
	r   *rotating
	key int
}

func (r *rotating) open(context.Context) (blobstore.Store, error) {
	r.opened++
	return &keyed{storetest.NewFaulty(r.memory), r, r.file}, nil
}

func (k *keyed) check() {
	k.Heal()
	if k.key != k.r.good {
		k.Inject(storetest.Fault{Times: storetest.Forever, Do: storetest.Fail(blobstore.ErrDenied)})
	}
}

func TestRotatedCredentialsAreReadAgainAfterADenial(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	r := &rotating{memory: storetest.NewMemory()}
	s, err := blobstore.Reopen(t.Context(), func(ctx context.Context) (blobstore.Store, error) {
		k, err := r.open(ctx)
		k.(*keyed).check()
		return k, err
	}, blobstore.ReopenOptions{Every: 10 * time.Second, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	rotate := func() {
		r.good++
		s.(blobstore.Wrapper).Unwrap().(*keyed).check()
	}
	operations := map[string]func() error{
		"put": func() error { _, err := s.Put(t.Context(), "k", []byte("x"), blobstore.Always); return err },
		"put if": func() error {
			attrs, err := s.Put(t.Context(), "k2", []byte("x"), blobstore.Always)
			if err == nil {
				_, err = s.Put(t.Context(), "k2", []byte("y"), blobstore.IfMatch(attrs.Token))
			}
			return err
		},
		"get": func() error {
			body, _, err := s.Get(t.Context(), "k", blobstore.GetOptions{})
			if err == nil {
				_, err = io.Copy(io.Discard, body)
			}
			return err
		},
		"stat": func() error { _, err := s.Stat(t.Context(), "k"); return err },
		"list": func() error {
			n := 0
			for _, err := range s.List(t.Context(), "", "") {
				if err != nil {
					return err
				}
				n++
			}
			if n == 0 {
				return errors.New("the list is empty")
			}
			return nil
		},
	}
	if err := operations["put"](); err != nil {
		t.Fatal(err)
	}
	for name, do := range operations {
		rotate()
		now = now.Add(time.Minute)
		if err := do(); !errors.Is(err, blobstore.ErrDenied) {
			t.Errorf("%s before the file has the new ones: %v", name, err)
		}
		r.file = r.good
		opened := r.opened
		if err := do(); !errors.Is(err, blobstore.ErrDenied) || r.opened != opened {
			t.Errorf("%s: opened anew %d times within the pause, %v", name, r.opened-opened, err)
		}
		now = now.Add(time.Minute)
		if err := do(); err != nil {
			t.Errorf("%s after the rotation: %v", name, err)
		}
		if r.opened != opened+1 {
			t.Errorf("%s: opened anew %d times", name, r.opened-opened)
		}
	}
}

package blobstore_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/synctest"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
)

// TestABodyGoesOnWhereItBroke: however often a body breaks off, as long as a byte comes
// each time, each byte is read once.
func TestABodyGoesOnWhereItBroke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := bytes.Repeat([]byte("0123456789"), 10)
		for _, opt := range []blobstore.GetOptions{{}, {Offset: 3}, {Offset: 3, Length: 90}} {
			f := storetest.NewFaulty(storetest.NewMemory())
			if _, err := f.Put(t.Context(), "k", want, blobstore.Always); err != nil {
				t.Fatal(err)
			}
			f.Calls()
			f.Inject(storetest.Fault{Op: storetest.Get, Times: storetest.Forever, Do: storetest.ShortBody(13)})
			body, _, err := blobstore.Retry(f, blobstore.RetryOptions{}).Get(t.Context(), "k", opt)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(body)
			part := want[opt.Offset:]
			if opt.Length > 0 {
				part = part[:opt.Length]
			}
			if err != nil || !bytes.Equal(got, part) {
				t.Errorf("read %+v: %q, %v", opt, got, err)
			}
			if err := body.Close(); err != nil {
				t.Error(err)
			}
			if calls, most := len(f.Calls()), len(part)/13+1; calls > most {
				t.Errorf("read %+v: %d requests, want %d at most", opt, calls, most)
			}
		}
	})
}

// TestABodyThatDoesNotComeIsAnError: the pauses end, and the reason is told.
func TestABodyThatDoesNotComeIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFaulty(t)
		f.Inject(storetest.Fault{Op: storetest.Get, Times: storetest.Forever, Do: storetest.ShortBody(0)})
		_, _, err := blobstore.ReadAll(t.Context(), blobstore.Retry(f, blobstore.RetryOptions{}), "k/there", 100)
		if !errors.Is(err, blobstore.ErrUnavailable) || !errors.Is(err, io.ErrUnexpectedEOF) || !errors.Is(err, storetest.ErrInjected) {
			t.Errorf("a body that never comes: %v", err)
		}
		if n := len(f.Calls()); n != 5 {
			t.Errorf("it was asked for %d times, want 5", n)
		}
	})
}

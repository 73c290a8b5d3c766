package blobstore_test

import (
	"errors"
	"io"
	"testing"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
)

func TestReadAllTakesWholeBlobsWithinTheLimit(t *testing.T) {
	f := storetest.NewFaulty(storetest.NewMemory())
	if _, err := f.Put(t.Context(), "k", []byte("0123456789"), blobstore.Always); err != nil {
		t.Fatal(err)
	}
	body, attrs, err := blobstore.ReadAll(t.Context(), f, "k", 10)
	if err != nil || string(body) != "0123456789" || attrs.Size != 10 {
		t.Errorf("got %q, %+v, %v", body, attrs, err)
	}
	if _, _, err := blobstore.ReadAll(t.Context(), f, "k", 9); !errors.Is(err, blobstore.ErrInvalid) {
		t.Errorf("above the limit: error %v, want invalid", err)
	}
	if _, _, err := blobstore.ReadAll(t.Context(), f, "missing", 9); !errors.Is(err, blobstore.ErrNotFound) {
		t.Errorf("missing: error %v, want not found", err)
	}
	for _, cut := range []int64{0, 9} {
		f.Inject(storetest.Fault{Op: storetest.Get, Do: storetest.ShortBody(cut)})
		_, _, err := blobstore.ReadAll(t.Context(), f, "k", 10)
		if !errors.Is(err, blobstore.ErrUnavailable) || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut at %d: error %v, want unavailable, unexpected EOF", cut, err)
		}
	}
}

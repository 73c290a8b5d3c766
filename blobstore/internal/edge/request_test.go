package edge

import (
	"testing"

	"github.com/understudy-ha/understudy/blobstore"
)

func TestAPartIsTheOneThatWasAskedFor(t *testing.T) {
	whole, tail, part := blobstore.GetOptions{}, blobstore.GetOptions{Offset: 5}, blobstore.GetOptions{Offset: 5, Length: 7}
	start := blobstore.GetOptions{Length: 7}
	for _, test := range []struct {
		opt    blobstore.GetOptions
		part   string
		length int64
		want   int64 // negative: an error
	}{
		{whole, "", 20, 20},
		{tail, "bytes 5-19/20", 15, 20},
		{part, "bytes 5-11/20", 7, 20},
		{part, "bytes 5-8/9", 4, 9},     // the blob ends there
		{part, "bytes 5-6/20", 2, 20},   // the rest can be asked for
		{start, "", 7, 7},               // the part is the blob
		{start, "", 0, 0},               // an empty blob
		{tail, "", 0, 0},                // nothing, in some stores' words
		{tail, "", 20, -1},              // the whole blob
		{part, "", 20, -1},              //
		{part, "", -1, -1},              // of a length that is not told
		{start, "", 20, -1},             //
		{tail, "bytes 0-19/20", 20, -1}, // another part
		{part, "bytes 6-12/20", 7, -1},
		{part, "bytes 5-12/20", 8, -1}, // more than was asked for
		{start, "bytes 0-6/*", 7, -1},  // of a size that is not told
		{start, "bytes */20", 7, -1},
		{start, "nonsense", 7, -1},
	} {
		got, err := WholeSize(test.opt, test.part, test.length)
		if (err != nil) != (test.want < 0) || err == nil && got != test.want {
			t.Errorf("%+v, answered with %q and %d bytes: %d, %v; want %d", test.opt, test.part, test.length, got, err, test.want)
		}
	}
}

package source

import (
	"context"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

func TestLossesAreBoundedAndCounted(t *testing.T) {
	l := new(Losses)
	for i := range 2 * maxLosses {
		if !l.Bears(Loss{Source: "s", Path: fmt.Sprint(i), What: OfMode}, unix.EPERM) {
			t.Fatal("it does not go on")
		}
	}
	if l.Total() != 2*maxLosses || len(l.First()) != maxLosses || l.First()[0].String() != "s/0: mode not set: operation not permitted" {
		t.Errorf("%d, of which %d are kept, first %s", l.Total(), len(l.First()), l.First()[0])
	}
	for _, err := range []error{unix.ENOSPC, unix.EROFS, context.Canceled} {
		if l.Bears(Loss{What: LeftOut}, err) {
			t.Errorf("it goes on after %v", err)
		}
	}
}

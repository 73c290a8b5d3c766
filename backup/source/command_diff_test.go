package source

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestACommandsOutputsAreComparedByteForByte(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1})
	big := make([]byte, 3<<20)
	_, _ = random.Read(big) // never fails
	edited := append([]byte{}, big...)
	edited[2<<20+17]++
	dir := t.TempDir()
	file := filepath.Join(dir, "state")
	src, err := NewCommand("queue", CommandConfig{Dump: []string{"cat", file}, Restore: []string{"true"}, Scratch: dir})
	must(t, err)
	for name, tt := range map[string]struct {
		a, b []byte
		want Difference
	}{
		"a byte":   {big, edited, Difference{Bytes: &ByteDifference{SizeA: 3 << 20, SizeB: 3 << 20, First: 2<<20 + 17}}},
		"the end":  {big, big[:1<<20], Difference{Bytes: &ByteDifference{SizeA: 3 << 20, SizeB: 1 << 20, First: 1 << 20}}},
		"an empty": {nil, []byte("x"), Difference{Bytes: &ByteDifference{SizeA: 0, SizeB: 1, First: 0}}},
		"nothing":  {edited, edited, Difference{Same: true}},
	} {
		t.Run(name, func(t *testing.T) {
			one, two := newShelf(t), newShelf(t)
			must(t, os.WriteFile(file, tt.a, 0o600))
			a := one.side(t, src)
			must(t, os.WriteFile(file, tt.b, 0o600))
			b, other := one.side(t, src), two.side(t, src)
			if d, _ := compared(t, a, b, true); !cmp.Equal(d, tt.want) {
				t.Errorf("%+v %+v", d, d.Bytes)
			}
			if d, _ := compared(t, a, other, false); !cmp.Equal(d, tt.want) {
				t.Errorf("under other keys: %+v %+v", d, d.Bytes)
			}
		})
	}
}

func TestAComparisonEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	dir := t.TempDir()
	src, err := NewCommand("queue", CommandConfig{Dump: []string{"date", "+%N"}, Restore: []string{"true"}, Scratch: dir})
	must(t, err)
	s := newShelf(t)
	a := s.side(t, src)
	b := s.side(t, src)
	cancel(fmt.Errorf("that is enough"))
	if _, err := Compare(ctx, a, b, CompareOptions{Scratch: dir}); err == nil || !strings.Contains(err.Error(), "compare queue: ") {
		t.Errorf("%v", err)
	}
}

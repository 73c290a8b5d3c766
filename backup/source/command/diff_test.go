package command

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

func TestACommandsOutputsAreComparedByteForByte(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1})
	big := make([]byte, 3<<20)
	_, _ = random.Read(big) // never fails
	edited := append([]byte{}, big...)
	edited[2<<20+17]++
	dir := t.TempDir()
	file := filepath.Join(dir, "state")
	src, err := New("queue", Config{Dump: []string{"cat", file}, Restore: []string{"true"}, Scratch: dir})
	sourcetest.Must(t, err)
	for name, tt := range map[string]struct {
		a, b []byte
		want source.Difference
	}{
		"a byte":   {big, edited, source.Difference{Bytes: &source.ByteDifference{SizeA: 3 << 20, SizeB: 3 << 20, First: 2<<20 + 17}}},
		"the end":  {big, big[:1<<20], source.Difference{Bytes: &source.ByteDifference{SizeA: 3 << 20, SizeB: 1 << 20, First: 1 << 20}}},
		"an empty": {nil, []byte("x"), source.Difference{Bytes: &source.ByteDifference{SizeA: 0, SizeB: 1, First: 0}}},
		"nothing":  {edited, edited, source.Difference{Same: true}},
	} {
		t.Run(name, func(t *testing.T) {
			one, two := sourcetest.NewVault(t), sourcetest.NewOtherVault(t)
			sourcetest.Must(t, os.WriteFile(file, tt.a, 0o600))
			a := one.Side(t, src)
			sourcetest.Must(t, os.WriteFile(file, tt.b, 0o600))
			b, other := one.Side(t, src), two.Side(t, src)
			if d, _ := sourcetest.Compared(t, a, b, true); !cmp.Equal(d, tt.want) {
				t.Errorf("%+v %+v", d, d.Bytes)
			}
			if d, _ := sourcetest.Compared(t, a, other, false); !cmp.Equal(d, tt.want) {
				t.Errorf("under other keys: %+v %+v", d, d.Bytes)
			}
		})
	}
}

func TestAComparisonEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	dir := t.TempDir()
	src, err := New("queue", Config{Dump: []string{"date", "+%N"}, Restore: []string{"true"}, Scratch: dir})
	sourcetest.Must(t, err)
	s := sourcetest.NewVault(t)
	a := s.Side(t, src)
	b := s.Side(t, src)
	cancel(fmt.Errorf("that is enough"))
	if _, err := source.Compare(ctx, a, b, source.CompareOptions{Scratch: dir}); err == nil || !strings.Contains(err.Error(), "compare queue: ") {
		t.Errorf("%v", err)
	}
}

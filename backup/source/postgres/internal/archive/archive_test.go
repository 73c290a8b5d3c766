package archive

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// archiveHead makes the head of an archive as pg_dump writes it.
func archiveHead(minor, width byte, tm [7]int) []byte {
	b := []byte("PGDMP")
	b = append(b, 1, minor, 0, width, 8, archiveCustom)
	number := func(n int) {
		sign := byte(0)
		if n < 0 {
			sign, n = 1, -n
		}
		var le [8]byte
		binary.LittleEndian.PutUint64(le[:], uint64(n))
		b = append(append(b, sign), le[:width]...)
	}
	if minor >= 15 {
		b = append(b, 0)
	} else {
		number(0)
	}
	for _, n := range tm {
		number(n)
	}
	return append(b, "and then the rest"...)
}

func TestPostgresArchiveTimeIsTheOnlyThingRewritten(t *testing.T) {
	fixed := [7]int{0, 0, 0, 1, 0, 100, 0}
	odd := [7]int{61, 61, 61, 61, 61, 61, 61}
	for _, tt := range []struct {
		name         string
		minor, width byte
		from, to     [7]int
	}{
		{"version 1.14", 14, 4, [7]int{9, 58, 23, 31, 11, 126, 1}, fixed},
		{"version 1.14, daylight saving unknown", 14, 4, [7]int{9, 58, 23, 31, 11, 126, -1}, fixed},
		{"version 1.16", 16, 4, [7]int{9, 58, 23, 31, 11, 126, 0}, fixed},
		{"wide ints", 14, 8, [7]int{9, 58, 23, 31, 11, 126, 0}, fixed},
		{"not a time", 14, 4, odd, odd},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := Timeless(bytes.NewReader(archiveHead(tt.minor, tt.width, tt.from)))
			sourcetest.Must(t, err)
			got, err := io.ReadAll(r)
			sourcetest.Must(t, err)
			if diff := cmp.Diff(archiveHead(tt.minor, tt.width, tt.to), got); diff != "" {
				t.Error(diff)
			}
		})
	}
	unknown := append([]byte("PGDMP\x02\x00\x00\x04\x08\x01"), "whatever"...)
	r, err := Timeless(bytes.NewReader(unknown))
	sourcetest.Must(t, err)
	if got, _ := io.ReadAll(r); !bytes.Equal(got, unknown) {
		t.Error("an unknown layout was changed")
	}
	for _, bad := range []string{"", "PGDMP", "-- a plain dump, as text, of some length", "PGDMP\x01\x0e\x00\x04\x08\x01\x00\x00"} {
		_, err := Timeless(strings.NewReader(bad))
		sourcetest.MustFail(t, err, "read head of the dump")
	}
}

package wal

import (
	"encoding/binary"
	"testing"
)

func TestSegmentsAreNamedAsPostgreSQLNamesThem(t *testing.T) {
	for _, c := range []struct {
		timeline uint32
		at       LSN
		size     uint64
		want     string
	}{
		{1, 0x1500708, 16 << 20, "000000010000000000000001"},
		{5, 0x16_B374D848, 16 << 20, "0000000500000016000000B3"},
		{0x1A, 0x16_B374D848, 1 << 30, "0000001A0000001600000002"},
	} {
		if got := Segment(c.timeline, c.at, c.size); got != c.want {
			t.Errorf("%v on %d: %s, and not %s", c.at, c.timeline, got, c.want)
		}
	}
	var at LSN
	if err := at.UnmarshalText([]byte("16/B374D848")); err != nil || at != 0x16_B374D848 || at.String() != "16/B374D848" {
		t.Errorf("%v, %v", at, err)
	}
	if at.UnmarshalText([]byte("16")) == nil {
		t.Error("half a position is one")
	}
}

// FuzzLast: whatever is in a log, a record that is found lies in it.
func FuzzLast(f *testing.F) {
	log := make([]byte, 2*PageSize)
	for page := range 2 {
		b := log[page*PageSize:]
		binary.LittleEndian.PutUint64(b[8:], uint64(16<<20+page*PageSize))
		binary.LittleEndian.PutUint32(b[shortPage:], 100)
	}
	f.Add(log)
	binary.LittleEndian.PutUint32(log[shortPage:], 9000)
	binary.LittleEndian.PutUint16(log[PageSize+2:], continues)
	binary.LittleEndian.PutUint32(log[PageSize+16:], 900)
	f.Add(log)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, log []byte) {
		const at, size = 16 << 20, 16 << 20
		r := Last(log, at, size)
		if r == (Record{}) {
			return
		}
		if r.Start < at || r.Start >= at+LSN(len(log)) || r.End <= r.Start {
			t.Errorf("from %s to %s", r.Start, r.End)
		}
	})
}

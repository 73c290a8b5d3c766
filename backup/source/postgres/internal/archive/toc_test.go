package archive

import (
	"encoding/binary"
	"strings"
	"testing"
)

// FuzzPostgresTOC: whatever an archive says, reading it ends, and takes no more
// memory than it has bytes.
func FuzzPostgresTOC(f *testing.F) {
	head := archiveHead(14, 4, [7]int{0, 0, 0, 1, 0, 100, 0})
	head = head[:len(head)-len("and then the rest")]
	number := func(n uint32) []byte { return binary.LittleEndian.AppendUint32([]byte{0}, n) }
	f.Add(head)
	f.Add(append(head, append(number(1<<31), number(1<<30)...)...))
	f.Add(append(append([]byte{}, head...), strings.Repeat("\x00\x01\x00\x00\x00a", 40)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := parseTOC(strings.NewReader(string(data)))
		if err == nil && len(entries) > len(data) {
			t.Errorf("%d entries in %d bytes", len(entries), len(data))
		}
		for i := range entries {
			_, _ = harmlessStatements(&entries[i])
			_, _ = entries[i].alterName()
		}
	})
}

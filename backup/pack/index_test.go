package pack

import "testing"

func TestABackupOfOneChunkCanBeAddedTo(t *testing.T) {
	b := newBucket()
	s := begin(t, b, nil)
	s.write([]byte("one"), Files)
	known, _, _ := s.end()
	if known.Chunks() != 1 {
		t.Fatalf("%d chunks, and this is about one", known.Chunks())
	}
	s = begin(t, b, known)
	stream := s.write([]byte("another"), Files)
	index, _, _ := s.end()
	mustRead(t, b, index, stream, []byte("another"))
}

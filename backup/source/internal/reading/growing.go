package reading

import (
	"hash/maphash"
	"io"
)

// Growing watches the reading of a file, to tell a file that was only added to,
// as a log is, from one that changed.
type Growing struct {
	seed  maphash.Seed
	begin int64 // how long the file was the last time; -1: there was none to compare with
	size  int64 // how much was read
	sum   maphash.Hash
	first uint64 // of what was there the last time
	all   uint64
	Whole bool // what was to be read was read, in one piece
}

// NewGrowing follows the reading of last; nil for the first one, which is not
// looked at: most files do not change.
func NewGrowing(seed maphash.Seed, last *Growing) *Growing {
	g := &Growing{seed: seed, begin: -1}
	if last != nil {
		g.begin = last.size
		g.sum.SetSeed(seed)
	}
	return g
}

// Follows tells whether all that was read the last time is still there, and as
// it was: then it was so at one moment between the two readings.
func (g *Growing) Follows(last *Growing) bool {
	return last != nil && last.begin >= 0 && g.Whole && last.Whole && g.size >= last.size && g.first == last.all
}

// Watch sees what is read of r.
func (g *Growing) Watch(r io.Reader) io.Reader {
	if g.begin < 0 {
		return r
	}
	return &watched{r, g}
}

type watched struct {
	io.Reader
	g *Growing
}

// Read implements io.Reader.
func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	w.g.see(p[:n])
	return n, err
}

func (g *Growing) see(p []byte) {
	if left := g.begin - g.size; left > 0 && left <= int64(len(p)) {
		_, _ = g.sum.Write(p[:left]) // never fails
		g.first = g.sum.Sum64()
		g.size += left
		p = p[left:]
	}
	_, _ = g.sum.Write(p)
	g.size += int64(len(p))
	g.all = g.sum.Sum64()
}

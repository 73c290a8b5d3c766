package tree

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/backup/pack"
)

// sampleTree has each type of node.
func sampleTree() []*Node {
	old := time.Unix(-5, 7)
	return []*Node{
		{Path: ".", Type: Directory, Mode: 0o1755, UID: 1, GID: 2, User: "daemon", ModTime: time.Unix(1e9, 999999999)},
		{Path: "a", Type: Directory, Mode: 0o700, ModTime: old, Xattrs: []Xattr{{"user.a", []byte("b")}, {"user.b", nil}}},
		{Path: "a/f", Type: RegularFile, Mode: 0o4755, ModTime: old, Inode: 1 << 60, Changed: time.Unix(2e9, 1),
			Size: 1 << 40, Content: pack.Stream{Size: 5000, Depth: 1, Chunks: []pack.ID{{1}, {2}}},
			Sparse: 4096, Data: []Extent{{0, 1000}, {1 << 20, 4000}}},
		{Path: "a/f2", Type: RegularFile, ModTime: old, Size: 70000, Content: pack.Stream{Size: 70000, Chunks: []pack.ID{{3}}}},
		{Path: "a/f3", Type: RegularFile, ModTime: old, Size: 1 << 30, Content: pack.Stream{Chunks: []pack.ID{}}, Sparse: 1, Data: []Extent{}},
		{Path: "a/g\n\xff", Type: RegularFile, ModTime: time.Unix(1<<40, 0), Content: pack.Stream{Chunks: []pack.ID{}}},
		{Path: "a-", Type: HardLink, Target: "a/f"},
		{Path: "b", Type: Symlink, Mode: 0o777, UID: 1<<32 - 1, ModTime: old, Target: "../x"},
		{Path: "c", Type: Fifo, ModTime: old},
		{Path: "d", Type: CharDevice, ModTime: old, Device: 259},
		{Path: "e", Type: BlockDevice, ModTime: old, Device: 1 << 40},
	}
}

func encodeTree(t testing.TB, nodes ...*Node) []byte {
	t.Helper()
	var b bytes.Buffer
	enc, err := NewEncoder(&b)
	mustTree(t, err)
	for _, n := range nodes {
		mustTree(t, enc.Write(n))
	}
	mustTree(t, enc.Flush())
	return b.Bytes()
}

func decodeTree(data []byte) (nodes []*Node, err error) {
	dec := NewDecoder(bytes.NewReader(data))
	for {
		n, err := dec.Next()
		if err == io.EOF {
			return nodes, nil
		}
		if err != nil {
			return nodes, err
		}
		nodes = append(nodes, n)
	}
}

func TestTreeComesBackAsItWasWritten(t *testing.T) {
	want := sampleTree()
	got, err := decodeTree(encodeTree(t, want...))
	mustTree(t, err)
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b Xattr) bool {
		return a.Name == b.Name && bytes.Equal(a.Value, b.Value)
	})); d != "" {
		t.Errorf("the tree differs: %s", d)
	}
}

func TestTreeCutShortIsAnError(t *testing.T) {
	data := encodeTree(t, sampleTree()...)
	whole := 0
	for i := range data {
		nodes, err := decodeTree(data[:i])
		if err == nil {
			whole++ // it ends between two records: the stream's own length tells
			continue
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, ErrMalformed) {
			t.Fatalf("cut at %d after %d nodes: %v", i, len(nodes), err)
		}
	}
	if whole != len(sampleTree())-1 {
		t.Errorf("%d cuts were not noticed", whole)
	}
}

func TestTreeRefusesWhatCannotBe(t *testing.T) {
	root := &Node{Path: ".", Type: Directory}
	file := func(p string) *Node { return &Node{Path: p, Type: Fifo} }
	for name, nodes := range map[string][]*Node{
		"no root":             {file("a")},
		"a root of a file":    {{Path: ".", Type: Fifo}},
		"two roots":           {root, root},
		"a parent's name":     {root, file("..")},
		"no parent":           {root, file("a/b")},
		"a parent not folder": {root, file("a"), file("a/b")},
		"the wrong order":     {root, file("b"), file("a")},
		"a name twice":        {root, file("b"), file("b")},
		"an empty tree":       {},
	} {
		if _, err := decodeTree(encodeTree(t, nodes...)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTreeOrderIsThatOfAWalk(t *testing.T) {
	walk := []string{".", "\x01", " ", "a", "a/!", "a/b", "a/b/c", "a/b!", "a!", "a-b", "a.b", "b", "\xff"}
	for i, a := range walk {
		for j, b := range walk {
			if got := ComparePaths(a, b); (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("%q against %q gives %d", a, b, got)
			}
		}
	}
	if shuffled := slices.Clone(walk); !slices.IsSortedFunc(shuffled, ComparePaths) {
		t.Error("the walk is not sorted")
	}
}

func FuzzTreeDecoder(f *testing.F) {
	f.Add(encodeTree(f, sampleTree()...))
	f.Add([]byte(Magic))
	f.Fuzz(func(t *testing.T, data []byte) {
		nodes, err := decodeTree(data)
		if err != nil {
			return
		}
		again, err := decodeTree(encodeTree(t, nodes...))
		if err != nil || !cmp.Equal(nodes, again) {
			t.Errorf("what was read does not come back: %v", err)
		}
	})
}

func mustTree(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

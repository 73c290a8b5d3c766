package directory

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/tree"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// record is a node as nobody's encoder writes it: with any name and depth.
func record(depth uint64, name string, n tree.Node) []byte {
	b := binary.AppendUvarint([]byte{byte(n.Type)}, depth)
	b = tree.AppendString(b, name)
	n.Path = "x"
	full, err := tree.AppendNode(nil, &n)
	if err != nil {
		panic(err)
	}
	rest := full[1+1+len(tree.AppendString(nil, "x")):]
	b = append(b, rest...)
	return append(binary.AppendUvarint(nil, uint64(len(b))), b...)
}

func forged(records ...[]byte) []byte {
	return append([]byte(tree.Magic), bytes.Join(records, nil)...)
}

var (
	aRoot = record(0, ".", tree.Node{Type: tree.Directory, Mode: 0o755})
	aFile = tree.Node{Type: tree.RegularFile, Mode: 0o666, Content: pack.Stream{Chunks: []pack.ID{}}}
)

// forgedTree is what somebody who has the key can write.
type forgedTree struct {
	name string
	data []byte
}

// forgedTrees lead to the folder outside, which has a file "secret" and lies
// beside what is restored; or they are to take too much.
func forgedTrees(outside string) []forgedTree {
	link := func(target string) tree.Node { return tree.Node{Type: tree.HardLink, Target: target} }
	symlink := func(target string) tree.Node { return tree.Node{Type: tree.Symlink, Mode: 0o777, Target: target} }
	trees := []forgedTree{
		{"a file behind a symlink", forged(aRoot, record(1, "a", symlink(outside)), record(2, "secret", aFile))},
		{"a file behind a file", forged(aRoot, record(1, "a", aFile), record(2, "b", aFile))},
		{"a hard link to outside", forged(aRoot, record(1, "a", link(outside+"/secret")))},
		{"a hard link to the parent's", forged(aRoot, record(1, "a", link("../outside/secret")))},
		{"a hard link behind a symlink", forged(aRoot, record(1, "a", symlink(outside)), record(1, "b", link("a/secret")))},
		{"a hard link behind two symlinks", forged(aRoot, record(1, "a", tree.Node{Type: tree.Directory, Mode: 0o700}), record(2, "s", symlink("..")), record(1, "b", symlink(outside)), record(1, "c", link("a/s/b/secret")))},
		{"a hard link to a folder", forged(aRoot, record(1, "a", tree.Node{Type: tree.Directory, Mode: 0o700}), record(1, "b", link("a")))},
		{"a hard link to itself", forged(aRoot, record(1, "a", link("a")))},
		{"a hard link to what comes later", forged(aRoot, record(1, "a", link("b")), record(1, "b", aFile))},
		{"a hard link to nothing", forged(aRoot, record(1, "a", link("")))},
		{"a hard link with a NUL", forged(aRoot, record(1, "a", aFile), record(1, "b", link("a\x00/../../outside/secret")))},
		{"two roots", forged(aRoot, aRoot)},
		{"a root that is a symlink", forged(record(0, ".", symlink(outside)))},
		{"the same name twice, a symlink first", forged(aRoot, record(1, "a", symlink(outside)), record(1, "a", tree.Node{Type: tree.Directory, Mode: 0o777}))},
		{"a folder with the mode of a device", forged(aRoot, record(1, "a", tree.Node{Type: tree.Directory, Mode: 0o60777}))},
		{"a very long name", forged(aRoot, record(1, strings.Repeat("n", 300), aFile))},
		{"a name longer than memory", append([]byte(tree.Magic), binary.AppendUvarint(nil, math.MaxUint64)...)},
		{"a record of 2 GiB", append([]byte(tree.Magic), binary.AppendUvarint(nil, math.MaxInt32)...)},
		{"a file larger than any", forged(aRoot, record(1, "a", tree.Node{Type: tree.RegularFile, Size: -1, Content: pack.Stream{Size: -1}}))},
		{"a file that its chunks do not make", forged(aRoot, record(1, "a", tree.Node{Type: tree.RegularFile, Size: 1 << 40, Content: pack.Stream{Size: 1 << 40}}))},
		{"a file of unknown chunks", forged(aRoot, record(1, "a", tree.Node{Type: tree.RegularFile, Size: 5, Content: pack.Stream{Size: 5, Chunks: []pack.ID{{1}}}}))},
		{"a file of a million levels", forged(aRoot, record(1, "a", tree.Node{Type: tree.RegularFile, Size: 5, Content: pack.Stream{Size: 5, Depth: 1 << 20, Chunks: []pack.ID{{1}}}}))},
		{"a file with data beyond its end", forged(aRoot, record(1, "a", tree.Node{Type: tree.RegularFile, Size: 5, Sparse: 1, Data: []tree.Extent{{Offset: 1 << 40, Length: 5}}}))},
		{"a file with data before its start", forged(aRoot, record(1, "a", tree.Node{Type: tree.RegularFile, Size: 5, Sparse: 1, Data: []tree.Extent{{Offset: -8, Length: 5}}}))},
		{"nothing", nil},
		{"another format", []byte("understudy tree 1\n")},
		{"a type that there is not", forged(aRoot, append([]byte{3, 's', 1, 1}, 'a'))},
	}
	for _, name := range []string{"..", "../outside/secret", outside + "/secret", "/", ".", "", "a/b", "a\x00b", "./a", "..\x00"} {
		trees = append(trees,
			forgedTree{fmt.Sprintf("the name %q", name), forged(aRoot, record(1, name, aFile))},
			forgedTree{fmt.Sprintf("a folder with the name %q", name), forged(aRoot, record(1, name, tree.Node{Type: tree.Directory, Mode: 0o777}), record(2, "x", aFile))})
	}
	return trees
}

// keepForged puts a stream into the vault, as somebody does who has the keys.
func keepForged(t testing.TB, v *sourcetest.Vault, data []byte, facts Facts) (source.Entry, *pack.Reader) {
	t.Helper()
	ctx := t.Context()
	w, err := pack.NewWriter(ctx, pack.WriterConfig{Cluster: sourcetest.TestCluster, Keys: v.Keys, Put: v.Put})
	sourcetest.Must(t, err)
	root, err := w.Write(ctx, bytes.NewReader(data), pack.Metadata)
	sourcetest.Must(t, err)
	ref, _, err := w.Close(ctx)
	sourcetest.Must(t, err)
	index, err := pack.LoadIndex(ctx, sourcetest.TestCluster, v.Keys, v, ref)
	sourcetest.Must(t, err)
	text, err := json.Marshal(facts)
	sourcetest.Must(t, err)
	return source.Entry{Kind: "directory", Name: "files", Root: root, Facts: text}, pack.NewReader(sourcetest.TestCluster, v.Keys, index, v)
}

// says counts what a tree has, as whoever forges it would.
func says(forgery []byte) (facts Facts) {
	for n := range tree.Read(io.NopCloser(bytes.NewReader(forgery))) {
		if n != nil {
			facts.add(n)
			facts.Bytes += n.Size
		}
	}
	return facts
}

// TestAForgedTreeStaysInItsFolder, whoever wrote it: by export, by a stage, and
// by bringing a stage forward.
func TestAForgedTreeStaysInItsFolder(t *testing.T) {
	for i, named := range forgedTrees("/outside") {
		t.Run(strings.ReplaceAll(named.name, "/", "|"), func(t *testing.T) {
			parent := t.TempDir()
			outside, look := sourcetest.Bait(t, parent)
			forgery := forgedTrees(outside)[i].data
			v := sourcetest.NewVault(t)
			e, r := keepForged(t, v, forgery, says(forgery))
			before := look()
			live := filepath.Join(parent, "live")
			sourcetest.Must(t, os.MkdirAll(live, 0o755))
			d := newTestDirectory(t, live)
			try := func(way string, restore func() error) {
				t.Helper()
				if err := restore(); err == nil {
					t.Errorf("%s: no error", way)
				}
				if after := look(); after != before {
					t.Errorf("%s: outside was\n%s and is\n%s", way, before, after)
				}
			}
			try("export", func() error { return source.Export(t.Context(), r, e, filepath.Join(parent, "export")) })
			try("stage", func() error { return d.Stage(t.Context(), r, e) })
			good := forged(aRoot, record(1, "a", tree.Node{Type: tree.Directory, Mode: 0o700}), record(2, "x", aFile))
			from, reader := keepForged(t, v, good, says(good))
			sourcetest.Must(t, d.Stage(t.Context(), reader, from))
			try("advance", func() error { return d.Advance(t.Context(), r, from, e) })
			sourcetest.Must(t, d.Discard(t.Context()))
			if entries, err := os.ReadDir(live); err != nil || len(entries) > 0 {
				t.Errorf("the live folder has %v, %v", entries, err)
			}
		})
	}
}

// honestTree has each type of node.
func honestTree(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	enc, err := tree.NewEncoder(&b)
	sourcetest.Must(t, err)
	then := time.Unix(1e9, 999999999)
	for _, n := range []*tree.Node{
		{Path: ".", Type: tree.Directory, Mode: 0o1755, UID: 1, GID: 2, User: "daemon", ModTime: then},
		{Path: "a", Type: tree.Directory, Mode: 0o700, ModTime: then, Xattrs: []tree.Xattr{{Name: "user.a", Value: []byte("b")}, {Name: "user.b"}}},
		{Path: "a/f", Type: tree.RegularFile, Mode: 0o4755, ModTime: then, Inode: 1 << 60, Changed: time.Unix(2e9, 1),
			Size: 1 << 40, Content: pack.Stream{Size: 5000, Depth: 1, Chunks: []pack.ID{{1}, {2}}},
			Sparse: 4096, Data: []tree.Extent{{Offset: 0, Length: 1000}, {Offset: 1 << 20, Length: 4000}}},
		{Path: "a/f2", Type: tree.RegularFile, ModTime: then, Size: 70000, Content: pack.Stream{Size: 70000, Chunks: []pack.ID{{3}}}},
		{Path: "a-", Type: tree.HardLink, Target: "a/f"},
		{Path: "b", Type: tree.Symlink, Mode: 0o777, UID: 1<<32 - 1, ModTime: then, Target: "../x"},
		{Path: "c", Type: tree.Fifo, ModTime: then},
		{Path: "d", Type: tree.CharDevice, ModTime: then, Device: 259},
		{Path: "e", Type: tree.BlockDevice, ModTime: then, Device: 1 << 40},
	} {
		sourcetest.Must(t, enc.Write(n))
	}
	sourcetest.Must(t, enc.Flush())
	return b.Bytes()
}

// FuzzRestore: no tree leads out of the folder that it is restored to.
func FuzzRestore(f *testing.F) {
	const outside = "../outside"
	for _, forgery := range forgedTrees(outside) {
		f.Add(forgery.data)
	}
	f.Add(honestTree(f))
	f.Fuzz(func(t *testing.T, forgery []byte) {
		if len(forgery) > 4<<10 {
			return // it is names that matter
		}
		for n := range tree.Read(io.NopCloser(bytes.NewReader(forgery))) {
			if n != nil && (n.Sparse > 0 || n.Type == tree.CharDevice || n.Type == tree.BlockDevice) {
				return // no disks are to be filled or opened
			}
		}
		parent := t.TempDir()
		_, look := sourcetest.Bait(t, parent)
		before := look()
		dest := filepath.Join(parent, "dest")
		facts, err := json.Marshal(says(forgery))
		sourcetest.Must(t, err)
		list := func(context.Context) iter.Seq2[*tree.Node, error] {
			return tree.Read(io.NopCloser(bytes.NewReader(forgery)))
		}
		sourcetest.Must(t, os.Mkdir(dest, 0o700))
		_ = plant(t.Context(), noChunks{}, source.Entry{Kind: "directory", Facts: facts}, list, sourcetest.Held(t, dest))
		if after := look(); after != before {
			t.Errorf("outside was\n%s and is\n%s", before, after)
		}
		all, err := os.ReadDir(parent)
		if err != nil || len(all) > 2 {
			t.Errorf("beside it is %v, %v", all, err)
		}
		sourcetest.Must(t, openUp(dest))
	})
}

// noChunks gives files nothing.
type noChunks struct{}

func (noChunks) Open(context.Context, pack.Stream) io.ReadCloser {
	return io.NopCloser(strings.NewReader(""))
}

// openUp lets a test's folder be removed, whatever modes were set in it.
func openUp(dir string) error {
	return filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if e != nil && e.IsDir() {
			return os.Chmod(p, 0o700)
		}
		return nil
	})
}

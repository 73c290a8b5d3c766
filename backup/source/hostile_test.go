package source

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"github.com/understudy-ha/understudy/backup/pack"
	"golang.org/x/sys/unix"
	"io"
	"io/fs"
	"iter"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
) // record is a node as nobody's encoder writes it: with any name and depth.
func record(depth uint64, name string, n Node) []byte {
	b := binary.AppendUvarint([]byte{byte(n.Type)}, depth)
	b = appendString(b, name)
	n.Path = "x"
	full, err := appendNode(nil, &n)
	if err != nil {
		panic(err)
	}
	rest := full[1+1+len(appendString(nil, "x")):]
	b = append(b, rest...)
	return append(binary.AppendUvarint(nil, uint64(len(b))), b...)
}
func forged(records ...[]byte) []byte { return append([]byte(treeMagic), bytes.Join(records, nil)...) }

var (
	aRoot = record(0, ".", Node{Type: Folder, Mode: 0o755})
	aFile = Node{Type: RegularFile, Mode: 0o666, Content: pack.Stream{Chunks: []pack.ID{}}}
) // forgedTree is what somebody who has the key can write.
type forgedTree struct {
	name string
	data []byte
} // forgedTrees lead to the folder outside, which has a file "secret" and lies
// beside what is restored; or they are to take too much.
func forgedTrees(outside string) []forgedTree {
	link := func(target string) Node { return Node{Type: HardLink, Target: target} }
	symlink := func(target string) Node { return Node{Type: Symlink, Mode: 0o777, Target: target} }
	trees := []forgedTree{
		{"a file behind a symlink", forged(aRoot, record(1, "a", symlink(outside)), record(2, "secret", aFile))},
		{"a file behind a file", forged(aRoot, record(1, "a", aFile), record(2, "b", aFile))},
		{"a hard link to outside", forged(aRoot, record(1, "a", link(outside+"/secret")))},
		{"a hard link to the parent's", forged(aRoot, record(1, "a", link("../outside/secret")))},
		{"a hard link behind a symlink", forged(aRoot, record(1, "a", symlink(outside)), record(1, "b", link("a/secret")))},
		{"a hard link behind two symlinks", forged(aRoot, record(1, "a", Node{Type: Folder, Mode: 0o700}), record(2, "s", symlink("..")), record(1, "b", symlink(outside)), record(1, "c", link("a/s/b/secret")))},
		{"a hard link to a folder", forged(aRoot, record(1, "a", Node{Type: Folder, Mode: 0o700}), record(1, "b", link("a")))},
		{"a hard link to itself", forged(aRoot, record(1, "a", link("a")))},
		{"a hard link to what comes later", forged(aRoot, record(1, "a", link("b")), record(1, "b", aFile))},
		{"a hard link to nothing", forged(aRoot, record(1, "a", link("")))},
		{"a hard link with a NUL", forged(aRoot, record(1, "a", aFile), record(1, "b", link("a\x00/../../outside/secret")))},
		{"two roots", forged(aRoot, aRoot)},
		{"a root that is a symlink", forged(record(0, ".", symlink(outside)))},
		{"the same name twice, a symlink first", forged(aRoot, record(1, "a", symlink(outside)), record(1, "a", Node{Type: Folder, Mode: 0o777}))},
		{"a folder with the mode of a device", forged(aRoot, record(1, "a", Node{Type: Folder, Mode: 0o60777}))},
		{"a very long name", forged(aRoot, record(1, strings.Repeat("n", 300), aFile))},
		{"a name longer than memory", append([]byte(treeMagic), binary.AppendUvarint(nil, math.MaxUint64)...)},
		{"a record of 2 GiB", append([]byte(treeMagic), binary.AppendUvarint(nil, math.MaxInt32)...)},
		{"a file larger than any", forged(aRoot, record(1, "a", Node{Type: RegularFile, Size: -1, Content: pack.Stream{Size: -1}}))},
		{"a file that its chunks do not make", forged(aRoot, record(1, "a", Node{Type: RegularFile, Size: 1 << 40, Content: pack.Stream{Size: 1 << 40}}))},
		{"a file of unknown chunks", forged(aRoot, record(1, "a", Node{Type: RegularFile, Size: 5, Content: pack.Stream{Size: 5, Chunks: []pack.ID{{1}}}}))},
		{"a file of a million levels", forged(aRoot, record(1, "a", Node{Type: RegularFile, Size: 5, Content: pack.Stream{Size: 5, Depth: 1 << 20, Chunks: []pack.ID{{1}}}}))},
		{"a file with data beyond its end", forged(aRoot, record(1, "a", Node{Type: RegularFile, Size: 5, Sparse: 1, Data: []Extent{{Offset: 1 << 40, Length: 5}}}))},
		{"a file with data before its start", forged(aRoot, record(1, "a", Node{Type: RegularFile, Size: 5, Sparse: 1, Data: []Extent{{Offset: -8, Length: 5}}}))},
		{"nothing", nil},
		{"another format", []byte("understudy tree 1\n")},
		{"a type that there is not", forged(aRoot, append([]byte{3, 's', 1, 1}, 'a'))},
	}
	for _, name := range []string{"..", "../outside/secret", outside + "/secret", "/", ".", "", "a/b", "a\x00b", "./a", "..\x00"} {
		trees = append(trees,
			forgedTree{fmt.Sprintf("the name %q", name), forged(aRoot, record(1, name, aFile))},
			forgedTree{fmt.Sprintf("a folder with the name %q", name), forged(aRoot, record(1, name, Node{Type: Folder, Mode: 0o777}), record(2, "x", aFile))})
	}
	return trees
}

// bait is a folder beside what is restored, and says how it is.
func bait(t *testing.T, parent string) (path string, look func() string) {
	t.Helper()
	path = filepath.Join(parent, "outside")
	secret := filepath.Join(path, "secret")
	do(t, os.Mkdir(path, 0o700))
	do(t, os.WriteFile(secret, []byte("secret"), 0o600))
	then := time.Unix(1e9, 0)
	do(t, os.Chtimes(secret, then, then))
	do(t, os.Chtimes(path, then, then))
	return path, func() string {
		var b strings.Builder
		err := filepath.WalkDir(path, func(p string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			var st unix.Stat_t
			if err := unix.Lstat(p, &st); err != nil {
				return err
			}
			text, _ := os.ReadFile(p)
			fmt.Fprintf(&b, "%s %o %d:%d links %d %d.%d %q\n", p, st.Mode, st.Uid, st.Gid, st.Nlink, st.Mtim.Sec, st.Mtim.Nsec, text)
			return nil
		})
		do(t, err)
		return b.String()
	}
}

// keepForged puts a stream into the vault, as somebody does who has the keys.
func keepForged(v *vault, data []byte, facts DirectoryFacts) (Entry, *pack.Reader) {
	v.t.Helper()
	ctx := v.t.Context()
	w, err := pack.NewWriter(ctx, pack.WriterConfig{Cluster: testCluster, Keys: v.keys, Put: v.put})
	do(v.t, err)
	root, err := w.Write(ctx, bytes.NewReader(data), pack.Metadata)
	do(v.t, err)
	ref, _, err := w.Close(ctx)
	do(v.t, err)
	index, err := pack.LoadIndex(ctx, testCluster, v.keys, v, ref)
	do(v.t, err)
	text, err := json.Marshal(facts)
	do(v.t, err)
	return Entry{Kind: "directory", Name: "files", Root: root, Facts: text}, pack.NewReader(testCluster, v.keys, index, v)
}

// says counts what a tree has, as whoever forges it would.
func says(tree []byte) (facts DirectoryFacts) {
	for n := range readTree(io.NopCloser(bytes.NewReader(tree))) {
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
			outside, look := bait(t, parent)
			tree := forgedTrees(outside)[i].data
			v := newVault(t)
			e, r := keepForged(v, tree, says(tree))
			before := look()
			live := filepath.Join(parent, "live")
			do(t, os.MkdirAll(live, 0o755))
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
			try("export", func() error { return Export(t.Context(), r, e, filepath.Join(parent, "export")) })
			try("stage", func() error { return d.Stage(t.Context(), r, e) })
			good := forged(aRoot, record(1, "a", Node{Type: Folder, Mode: 0o700}), record(2, "x", aFile))
			from, reader := keepForged(v, good, says(good))
			do(t, d.Stage(t.Context(), reader, from))
			try("advance", func() error { return d.Advance(t.Context(), r, from, e) })
			do(t, d.Discard(t.Context()))
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
	enc, err := newTreeEncoder(&b)
	do(t, err)
	then := time.Unix(1e9, 999999999)
	for _, n := range []*Node{
		{Path: ".", Type: Folder, Mode: 0o1755, UID: 1, GID: 2, User: "daemon", ModTime: then},
		{Path: "a", Type: Folder, Mode: 0o700, ModTime: then, Xattrs: []Xattr{{Name: "user.a", Value: []byte("b")}, {Name: "user.b"}}},
		{Path: "a/f", Type: RegularFile, Mode: 0o4755, ModTime: then, Inode: 1 << 60, Changed: time.Unix(2e9, 1),
			Size: 1 << 40, Content: pack.Stream{Size: 5000, Depth: 1, Chunks: []pack.ID{{1}, {2}}},
			Sparse: 4096, Data: []Extent{{Offset: 0, Length: 1000}, {Offset: 1 << 20, Length: 4000}}},
		{Path: "a/f2", Type: RegularFile, ModTime: then, Size: 70000, Content: pack.Stream{Size: 70000, Chunks: []pack.ID{{3}}}},
		{Path: "a-", Type: HardLink, Target: "a/f"},
		{Path: "b", Type: Symlink, Mode: 0o777, UID: 1<<32 - 1, ModTime: then, Target: "../x"},
		{Path: "c", Type: Fifo, ModTime: then},
		{Path: "d", Type: CharDevice, ModTime: then, Device: 259},
		{Path: "e", Type: BlockDevice, ModTime: then, Device: 1 << 40},
	} {
		do(t, enc.write(n))
	}
	do(t, enc.flush())
	return b.Bytes()
}

// FuzzRestore: no tree leads out of the folder that it is restored to.
func FuzzRestore(f *testing.F) {
	const outside = "../outside"
	for _, tree := range forgedTrees(outside) {
		f.Add(tree.data)
	}
	f.Add(honestTree(f))
	f.Fuzz(func(t *testing.T, tree []byte) {
		if len(tree) > 4<<10 {
			return // it is names that matter
		}
		for n := range readTree(io.NopCloser(bytes.NewReader(tree))) {
			if n != nil && (n.Sparse > 0 || n.Type == CharDevice || n.Type == BlockDevice) {
				return // no disks are to be filled or opened
			}
		}
		parent := t.TempDir()
		_, look := bait(t, parent)
		before := look()
		dest := filepath.Join(parent, "dest")
		facts, err := json.Marshal(says(tree))
		do(t, err)
		list := func(context.Context) iter.Seq2[*Node, error] { return readTree(io.NopCloser(bytes.NewReader(tree))) }
		do(t, os.Mkdir(dest, 0o700))
		_ = plant(t.Context(), noChunks{}, Entry{Kind: "directory", Facts: facts}, list, held(t, dest))
		if after := look(); after != before {
			t.Errorf("outside was\n%s and is\n%s", before, after)
		}
		all, err := os.ReadDir(parent)
		if err != nil || len(all) > 2 {
			t.Errorf("beside it is %v, %v", all, err)
		}
		do(t, openUp(dest))
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

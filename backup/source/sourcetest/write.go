package sourcetest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/pkg/xattr"
	"golang.org/x/sys/unix"
)

// TreeSize says how large a tree WriteTree makes.
type TreeSize struct {
	Files int   // regular files, in folders of about 25
	Bytes int64 // of their contents, about; sizes are spread widely
	Large int   // how many of the files share half of the bytes
}

// WriteTree makes a realistic tree in dir, which may not exist: files of very
// different sizes, of which some can be compressed and some cannot, in nested
// folders, with varied modes and past modification times. The same seed makes
// the same tree. It returns the paths of the files, relative to dir.
func WriteTree(t testing.TB, dir string, seed uint64, size TreeSize) []string {
	t.Helper()
	w := &treeWriter{t: t, dir: dir, rand: rand.New(rand.NewPCG(seed, 1))}
	w.must(os.MkdirAll(dir, 0o755))
	small := size.Bytes
	if size.Large > 0 {
		small /= 2
	}
	paths := make([]string, size.Files)
	for i := range paths {
		n := w.spread(small / int64(max(1, size.Files-size.Large)))
		if i < size.Large {
			n = small / int64(size.Large)
		}
		paths[i] = w.path(i, size.Files)
		w.file(paths[i], n)
	}
	w.age()
	return paths
}

// WriteOddities makes in dir one of each thing that a backup of a folder has
// to keep: names that are not UTF-8 or have newlines, empty files and folders,
// symlinks (to nothing, and to folders), hard links in several folders, unusual
// modes and times, extended attributes, a file with holes, a fifo, and, for
// root, other owners and a device. When the test ends, all folders beside dir
// are made writable, so that a temporary folder can be removed.
func WriteOddities(t testing.TB, dir string) {
	t.Helper()
	w := &treeWriter{t: t, dir: dir, rand: rand.New(rand.NewPCG(7, 7))}
	t.Cleanup(func() { permit(filepath.Dir(dir)) })
	w.must(os.MkdirAll(filepath.Join(dir, "empty folder"), 0o755))
	w.must(os.MkdirAll(filepath.Join(dir, "a", "deep", "er"), 0o755))
	for i, name := range []string{
		"plain", "empty", "not \xff\xfe UTF-8", "two\nlines", "-dash", "a b", "a!", "a/x", "a/deep/er/y",
		".hidden", "~", "*", "\\", "\x01", "large",
	} {
		w.file(name, []int64{10, 0, 3000, 100, 40, 20, 5, 70000, 9, 1, 2, 3, 4, 5, 3 << 20}[i])
	}
	w.links()
	w.modes()
	w.sparse("holes")
	w.must(syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o640))
	if os.Geteuid() == 0 {
		w.must(os.Lchown(filepath.Join(dir, "plain"), 12345, 23456))
		w.must(os.Lchown(filepath.Join(dir, "to plain"), 12345, 0))
		w.must(os.Lchown(filepath.Join(dir, "empty folder"), 1, 1))
		w.must(syscall.Mknod(filepath.Join(dir, "null"), syscall.S_IFCHR|0o666, 1<<8|3))
	}
	w.must(xattr.Set(filepath.Join(dir, "plain"), "user.understudy", []byte("of a file\x00")))
	w.must(xattr.Set(filepath.Join(dir, "a"), "user.understudy", nil))
	w.acl("a b", "system.posix_acl_access")
	w.acl("a/deep", "system.posix_acl_default")
	w.must(os.Chmod(filepath.Join(dir, "read-only folder"), 0o500))
	w.age()
	w.must(os.Chtimes(filepath.Join(dir, "empty"), time.Time{}, time.Unix(-1, 5)))
	w.must(os.Chtimes(filepath.Join(dir, "a b"), time.Time{}, time.Date(2100, 1, 1, 0, 0, 0, 999999999, time.UTC)))
}

// permit makes folders writable, as far as it can.
func permit(dir string) {
	filepath.WalkDir(dir, func(p string, e os.DirEntry, _ error) error {
		if e != nil && e.IsDir() {
			os.Chmod(p, 0o700)
		}
		return nil
	})
}

type treeWriter struct {
	t    testing.TB
	dir  string
	rand *rand.Rand
}

func (w *treeWriter) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("write tree: %v", err)
	}
}

// path spreads files over folders, three levels deep.
func (w *treeWriter) path(i, of int) string {
	folder := i * (of/25 + 1) / of
	return filepath.Join(fmt.Sprintf("d%02d", folder%7), fmt.Sprintf("sub-%03d", folder), fmt.Sprintf("file-%06d.dat", i))
}

// spread gives a size between none and eight times the mean, mostly small.
func (w *treeWriter) spread(mean int64) int64 {
	return int64(min(8, w.rand.ExpFloat64()) * float64(mean))
}

// file writes a file; two fifths of all bytes cannot be compressed.
func (w *treeWriter) file(name string, size int64) {
	path := filepath.Join(w.dir, name)
	w.must(os.MkdirAll(filepath.Dir(path), 0o755))
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	w.must(err)
	src := io.Reader(rand.NewChaCha8([32]byte{byte(w.rand.Uint32()), byte(w.rand.Uint32()), byte(w.rand.Uint32()), byte(w.rand.Uint32())}))
	if w.rand.IntN(5) >= 2 {
		src = &prose{rand: w.rand}
	}
	_, err = io.CopyN(f, src, size)
	w.must(err)
	w.must(f.Close())
	w.must(os.Chmod(path, []os.FileMode{0o644, 0o600, 0o755, 0o640}[w.rand.IntN(4)]))
}

// prose is endless text: sentences of a fixed page, numbered.
type prose struct {
	rand *rand.Rand
	left []byte
}

var page = writePage()

func writePage() []byte {
	words := []string{"backup ", "standby ", "active ", "the ", "of ", "and ", "epoch ", "42 ", "bucket\n", "promote ", "lease, ", "2026-11-23 "}
	r := rand.New(rand.NewPCG(5, 5))
	var b []byte
	for len(b) < 1<<20 {
		b = append(b, words[r.IntN(len(words))]...)
	}
	return b
}

// Read implements io.Reader.
func (p *prose) Read(b []byte) (int, error) {
	const sentence = 200
	n := 0
	for n < len(b) {
		if len(p.left) == 0 {
			from := p.rand.IntN(len(page) - sentence)
			p.left = binary.LittleEndian.AppendUint64(p.left[:0:0], p.rand.Uint64())
			p.left = append(p.left, page[from:from+sentence]...)
		}
		k := copy(b[n:], p.left)
		n, p.left = n+k, p.left[k:]
	}
	return n, nil
}

func (w *treeWriter) links() {
	join := func(p string) string { return filepath.Join(w.dir, p) }
	w.must(os.Symlink("plain", join("to plain")))
	w.must(os.Symlink("no such \xff thing", join("dangling")))
	w.must(os.Symlink("a/deep", join("to folder")))
	w.must(os.Link(join("large"), join("a/deep/large too")))
	w.must(os.Link(join("large"), join("z large")))
	w.must(os.Link(join("two\nlines"), join("a/two lines")))
	w.must(os.Link(join("empty"), join("empty too")))
}

func (w *treeWriter) modes() {
	join := func(p string) string { return filepath.Join(w.dir, p) }
	w.must(os.Mkdir(join("sticky"), 0o755))
	w.must(os.Chmod(join("sticky"), 0o777|os.ModeSticky))
	w.must(os.Mkdir(join("setgid"), 0o755))
	w.must(os.Chmod(join("setgid"), 0o775|os.ModeSetgid))
	w.must(os.Chmod(join("a!"), 0o755|os.ModeSetuid))
	w.must(xattr.Set(join("~"), "user.understudy", []byte("of a read-only file")))
	w.must(os.Chmod(join("~"), 0o400))
	w.must(os.Mkdir(join("read-only folder"), 0o755))
	w.file("read-only folder/x", 10)
}

// acl lets user 1234 read and write, where the file system has ACLs.
func (w *treeWriter) acl(name, attribute string) {
	const nobody = 0xffffffff
	value := binary.LittleEndian.AppendUint32(nil, 2) // version
	for _, e := range [][3]uint32{{0x01, 6, nobody}, {0x02, 6, 1234}, {0x04, 4, nobody}, {0x10, 6, nobody}, {0x20, 4, nobody}} {
		value = binary.LittleEndian.AppendUint16(value, uint16(e[0])) // tag
		value = binary.LittleEndian.AppendUint16(value, uint16(e[1])) // permissions
		value = binary.LittleEndian.AppendUint32(value, e[2])         // id
	}
	if err := xattr.Set(filepath.Join(w.dir, name), attribute, value); !errors.Is(err, syscall.ENOTSUP) {
		w.must(err)
	}
}

func (w *treeWriter) sparse(name string) {
	f, err := os.Create(filepath.Join(w.dir, name))
	w.must(err)
	_, err = f.WriteAt([]byte("in the middle of nothing"), 4<<20)
	w.must(err)
	w.must(f.Truncate(16<<20 + 1))
	w.must(f.Close())
}

// age gives everything a time in the past, with nanoseconds, folders last.
func (w *treeWriter) age() {
	var all []string
	w.must(filepath.WalkDir(w.dir, func(p string, _ os.DirEntry, err error) error {
		all = append(all, p)
		return err
	}))
	base := time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC).UnixNano()
	for i := len(all) - 1; i >= 0; i-- {
		ns := base + w.rand.Int64N(int64(300*24*time.Hour))
		times := []unix.Timespec{unix.NsecToTimespec(ns), unix.NsecToTimespec(ns)}
		w.must(unix.UtimesNanoAt(unix.AT_FDCWD, all[i], times, unix.AT_SYMLINK_NOFOLLOW))
	}
}

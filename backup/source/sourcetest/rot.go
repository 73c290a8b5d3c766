package sourcetest

import (
	"bytes"
	"encoding/binary"
	"hash/fnv"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Rot changes a byte of a file in what is staged of a directory, at dir, as a bad
// disk does: nothing but the content shows it.
func Rot(tb testing.TB, dir, file string) {
	tb.Helper()
	path := filepath.Join(dir, file)
	marks := strings.TrimSuffix(dir, "staged") + "marks"
	was := mark(tb, path)
	Flip(tb, path)
	all, err := os.ReadFile(marks)
	if err != nil {
		tb.Fatal(err)
	}
	for at := 0; at+8 <= len(all); at += 8 {
		if bytes.Equal(all[at:at+8], was) {
			copy(all[at:], mark(tb, path))
			if err := os.WriteFile(marks, all, 0o600); err != nil {
				tb.Fatal(err)
			}
			return
		}
	}
	tb.Fatalf("%s has no mark in %s", file, marks)
}

// Flip changes a byte in the middle of a file, and puts its times back.
func Flip(tb testing.TB, path string) {
	tb.Helper()
	info, err := os.Stat(path)
	if err != nil {
		tb.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], info.Size()/2); err != nil {
		tb.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b[:], info.Size()/2); err != nil {
		tb.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		tb.Fatal(err)
	}
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		tb.Fatal(err)
	}
}

// mark is what a stage keeps of a file with one name.
func mark(tb testing.TB, path string) []byte {
	tb.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		tb.Fatal(err)
	}
	h := fnv.New64a()
	fields := []int64{
		int64(st.Ino), int64(st.Mode), int64(st.Uid), int64(st.Gid), st.Mtim.Sec, st.Mtim.Nsec,
		st.Size, st.Ctim.Sec, st.Ctim.Nsec,
	}
	if err := binary.Write(h, binary.LittleEndian, fields); err != nil {
		tb.Fatal(err)
	}
	return binary.LittleEndian.AppendUint64(nil, h.Sum64())
}

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The loader of a program that may lie anywhere writes addresses to pages of its file,
// and protects them afterwards.
func TestPagesThatWereWrittenToAreNotGivenBack(t *testing.T) {
	page := os.Getpagesize()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, bytes.Repeat([]byte{'f'}, 4*page), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	mapped := func(offset int) []byte {
		m, err := unix.Mmap(int(f.Fd()), int64(offset), page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := unix.Munmap(m); err != nil {
				t.Error(err)
			}
		})
		return m
	}
	written, unwritten := mapped(0), mapped(2*page)
	written[0] = 'w'
	before := unwritten[0] // is in memory now
	for _, m := range [][]byte{written, unwritten} {
		if err := unix.Mprotect(m, unix.PROT_READ); err != nil {
			t.Fatal(err)
		}
	}
	if !present(t, unwritten) {
		t.Fatal("a page that was read is not in memory")
	}
	if err := releaseFile(path); err != nil {
		t.Fatal(err)
	}
	if present(t, unwritten) {
		t.Error("a page of the file was not given back")
	}
	if written[0] != 'w' || before != 'f' || unwritten[0] != 'f' {
		t.Errorf("read %q and %q, want what was written, and what is in the file", written[0], unwritten[0])
	}
}

// present reports whether a page is in the process's memory.
func present(t *testing.T, m []byte) bool {
	t.Helper()
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	entry := make([]byte, 8)
	address := uintptr(unsafe.Pointer(&m[0]))
	if _, err := f.ReadAt(entry, int64(address)/int64(os.Getpagesize())*8); err != nil {
		t.Fatal(err)
	}
	return entry[7]&0x80 != 0
}

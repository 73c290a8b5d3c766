package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// resident reads how much of the files that this process has mapped is in memory.
func resident(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "RssFile:")
	kilobytes, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kilobytes << 10
}

func TestPagesOfTheProgramAreGivenBack(t *testing.T) {
	before := resident(t)
	if err := releaseProgram(); err != nil {
		t.Fatal(err)
	}
	if after := resident(t); after > before*3/4 {
		t.Errorf("%d bytes of files are resident, of %d before", after, before)
	}
}

func TestOnlyWhatIsReadOnlyIsGivenBack(t *testing.T) {
	for line, want := range map[string]bool{
		"00400000-01bc7000 r-xp 00000000 fe:00 9994038    /usr/bin/understudy\n": true,
		"01bc7000-0330d000 r--p 017c7000 fe:00 9994038    /usr/bin/understudy\n": true,
		"0330d000-033e8000 rw-p 02f0d000 fe:00 9994038    /usr/bin/understudy\n": false, // its variables
		"0330d000-033e8000 r--s 02f0d000 fe:00 9994038    /usr/bin/understudy\n": false, // shared
		"0330d000-033e8000 r--p 02f0d000 fe:00 9994038    /usr/lib/other\n":      false,
		"7f1be2a28000-7f1be2a9a000 r--p 00000000 00:00 0 \n":                     false,
		"Anonymous:             0 kB\n":                                          false,
		"":                                                                       false,
	} {
		_, to, header := mapping(line, "/usr/bin/understudy")
		if ok := to != 0; ok != want || header != strings.Contains(line, "-") {
			t.Errorf("%q: %v, want %v", line, ok, want)
		}
	}
	if from, to, _ := mapping("00400000-01bc7000 r-xp 00000000 fe:00 1 /p\n", "/p"); from != 0x400000 || to != 0x1bc7000 {
		t.Errorf("from %x to %x", from, to)
	}
}

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

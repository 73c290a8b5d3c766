package main

import (
	"os"
	"strconv"
	"strings"
	"testing"
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
		"": false,
	} {
		if _, _, ok := readOnly(line, "/usr/bin/understudy"); ok != want {
			t.Errorf("%q: %v, want %v", line, ok, want)
		}
	}
	if from, to, _ := readOnly("00400000-01bc7000 r-xp 00000000 fe:00 1 /p\n", "/p"); from != 0x400000 || to != 0x1bc7000 {
		t.Errorf("from %x to %x", from, to)
	}
}

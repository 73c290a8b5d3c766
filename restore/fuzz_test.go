package restore

import (
	"os"
	"path/filepath"
	"testing"
)

// FuzzCacheFiles: what lies in a cache was written by this program, and may be
// what a disk made of it.
func FuzzCacheFiles(f *testing.F) {
	const digest = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
	f.Add([]byte(`{"id":"x","key":"backups/x.json"}`), []byte(digest+" 12\n"))
	f.Add([]byte(`{"id":"../x"}`), []byte(digest+"\n"))
	f.Add([]byte(`null`), []byte(digest+" -1\n"+digest+" 99999999999999999999\n"))
	f.Add([]byte{}, []byte{0})
	f.Fuzz(func(t *testing.T, ref, packs []byte) {
		dir := t.TempDir()
		c, err := OpenCache(dir, 1)
		if err != nil {
			t.Fatal(err)
		}
		folder := filepath.Join(dir, "backups", "x")
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string][]byte{"ref.json": ref, "packs": packs} {
			if err := os.WriteFile(filepath.Join(folder, name), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		refs, _, err := c.list()
		if err != nil {
			t.Errorf("one damaged backup hides the others: %v", err)
		}
		for _, r := range refs {
			if r.ID != "x" {
				t.Errorf("the folder x holds %q", r.ID)
			}
		}
		all, err := c.needs("x")
		for _, p := range all {
			if err == nil && p.Size < 0 {
				t.Errorf("a pack of %d bytes", p.Size)
			}
		}
	})
}

package agent

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha/datadir"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/report"
	"github.com/understudy-ha/understudy/ha/upkeep"
)

// inPlace puts something else in the place of a folder.
func inPlace(t *testing.T, path string, put func(path string) error) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := put(path); err != nil {
		t.Fatal(err)
	}
}

func aFile(path string) error       { return os.WriteFile(path, []byte("something"), 0o600) }
func aDeadLink(path string) error   { return os.Symlink("nothing/is/there", path) }
func aLinkToFile(path string) error { return os.Symlink("../../journal.json", path) }
func aLinkToSelf(path string) error { return os.Symlink(filepath.Base(path), path) }

// What stands in the place of a folder of the data folder is moved aside, when the
// agent starts and while it runs, and told; what the folder held is there again.
func TestWhatStandsInThePlaceOfAFolderIsMovedAside(t *testing.T) {
	for name, put := range map[string]func(string) error{"a file": aFile, "a link that leads nowhere": aDeadLink, "a link to a file": aLinkToFile, "a loop": aLinkToSelf} {
		for _, folder := range []string{datadir.CacheFolder, "cache/backups", "cache/packs", "cache/partial", datadir.SwapFolder, datadir.ScratchFolder, "scratch/files", datadir.HooksFolder} {
			t.Run(name+" for "+folder, func(t *testing.T) {
				inBubble(t, func(t *testing.T, c *cluster) {
					_, b, _ := rehearsingHosts(t, c)
					path := filepath.Join(b.data, folder)
					told := func() int {
						n := 0
						for _, e := range b.agent.Events().Recent(0, 1000) {
							if e.Level == event.Warn && e.Kind == upkeep.CacheKind && strings.Contains(e.Text, path+" was ") {
								n++
							}
						}
						return n
					}
					isThere := func(s report.Status) bool {
						h := s.LastBackup
						return h != nil && slices.ContainsFunc(s.Cached, func(r backup.Ref) bool { return r.ID == h.ID }) && s.Staged == h.ID && told() > 0
					}
					inPlace(t, path, put)
					c.pass(lookEvery + 1)
					c.hosts["a"].many(1)
					b.until("it is cached and rehearsed again", isThere)
					b.halt()
					before := told()
					inPlace(t, path, put)
					b.start()
					c.hosts["a"].many(1)
					b.until("it is so after a start", isThere)
					b.until("that is told", func(report.Status) bool { return told() > before })
					b.until("nothing is wrong", func(s report.Status) bool { return len(s.Problems) == 0 })
				})
			})
		}
	}
}

package agent

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/datadir"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/report"
	"github.com/understudy-ha/understudy/restore"
)

// A data folder that was put back knows nothing of a swap that was interrupted
// since. The standby says what to do, and that is enough.
func TestAStandbySaysWhatEndsAnUnfinishedSwap(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, _ := rehearsingHosts(t, c)
		b.write("mine", "before all this")
		b.halt()
		earlier := filepath.Join(t.TempDir(), "earlier")
		b.copyData(earlier)
		cfg := b.config()
		s, err := restore.NewSwapper(filepath.Join(b.data, datadir.SwapFolder), cfg.Sources)
		if err == nil {
			err = s.Swap(t.Context())
		}
		if err == nil {
			err = os.RemoveAll(b.data)
		}
		if err == nil {
			err = os.Rename(earlier, b.data)
		}
		if err != nil {
			t.Fatal(err)
		}
		b.start()
		b.until("says what to do", func(s report.Status) bool {
			return slices.ContainsFunc(s.Problems, func(p string) bool { return strings.Contains(p, "understudy join --replace") })
		})
		b.halt()
		if err := os.WriteFile(filepath.Join(b.data, datadir.KeptFile), []byte("{"), 0o600); err != nil { // which is no reason to refuse
			t.Fatal(err)
		}
		done, err := Join(t.Context(), b.config(), Joining{Replace: true})
		if err != nil || done.Settled == nil || done.Settled.Resolution != restore.Kept || len(done.Settled.Kept) != 1 {
			t.Fatalf("join: %+v, %v", done, err)
		}
		if text, err := os.ReadFile(filepath.Join(done.Settled.Kept[0], "mine")); string(text) != "before all this" {
			t.Errorf("kept: %q, %v", text, err)
		}
		b.start()
		id := a.backup()
		b.until("has rehearsed", func(s report.Status) bool { return s.Staged == id })
		kept := done.Settled.Kept[0]
		names := func(s report.Status) bool { return strings.Contains(strings.Join(s.Caveats, "\n"), "is kept in "+kept) }
		b.until("names what is kept", names)
		if err := os.RemoveAll(kept); err != nil {
			t.Fatal(err)
		}
		b.until("names it no longer", func(s report.Status) bool { return !names(s) })
		b.halt()
		if err := os.WriteFile(filepath.Join(b.data, datadir.KeptFile), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		b.start()
		b.tells(event.Warn, "agent", "is not known")
		b.until("goes on", func(s report.Status) bool { return s.State == report.StateInSync })
	})
}

// What is rolled back is not taken away from under somebody.
func TestJoiningRollsNothingBackUnderSomebody(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		_, b, _ := rehearsingHosts(t, c)
		b.halt()
		d, err := datadir.Open(t.Context(), b.data)
		if err != nil {
			t.Fatal(err)
		}
		s, err := restore.NewSwapper(d.File(datadir.SwapFolder), b.config().Sources)
		if err == nil {
			err = s.Swap(t.Context())
		}
		j, _, loadErr := d.LoadJournal()
		j.Promotion = &ha.Promotion{ID: "p", Phase: ha.PhaseCommit, Swapped: true}
		if err := errors.Join(err, loadErr, d.SaveJournal(j), d.Close()); err != nil {
			t.Fatal(err)
		}
		somebody := exec.Command("sleep", "1h")
		somebody.Dir = b.app
		if err := somebody.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = somebody.Process.Kill() }()
		for name, do := range map[string]func(Config) error{
			"join":  func(cfg Config) error { _, err := Join(t.Context(), cfg, Joining{Replace: true}); return err },
			"leave": func(cfg Config) error { _, err := Leave(t.Context(), cfg); return err },
		} {
			if err := do(b.config()); !ha.IsRefusal(err) || !strings.Contains(err.Error(), "stop what runs there") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := somebody.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = somebody.Wait()
		left, err := Leave(t.Context(), b.config())
		if err != nil || left.Settled == nil || left.Settled.Resolution != restore.Back {
			t.Errorf("leave: %+v, %v", left, err)
		}
		b.alone()
	})
}

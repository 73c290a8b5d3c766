package agent

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/source/directory"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/datadir"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
	"github.com/understudy-ha/understudy/restore"
)

// putBack puts the data folder back to a copy, with the agent stopped. What is not
// seen is put back below the file system, as a snapshot of a volume is.
func (h *host) putBack(from string, seen bool) {
	h.t.Helper()
	if err := errors.Join(os.RemoveAll(h.data), os.CopyFS(h.data, os.DirFS(from))); err != nil {
		h.t.Fatal(err)
	}
	if !seen {
		h.unnoticed()
	}
}

// unnoticed makes a data folder look as if it had never been copied.
func (h *host) unnoticed() {
	h.t.Helper()
	d, err := datadir.Open(h.t.Context(), h.data)
	if err != nil {
		h.t.Fatal(err)
	}
	j, _, err := d.LoadJournal()
	j.Doubt = ""
	if err := errors.Join(err, d.SaveJournal(j), d.Close()); err != nil {
		h.t.Fatal(err)
	}
}

// lists finds a salvage backup with this content of the file state, in the list
// that this host shows, and restores it.
func (h *host) lists(state string) {
	h.t.Helper()
	all, err := h.agent.catalogue.Backups(h.t.Context(), 0)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, info := range all {
		if info.Salvage && h.salvaged(info.ID) == state {
			return
		}
	}
	h.t.Errorf("%s lists no salvage backup with %q: %+v", h.name, state, all)
}

// salvaged restores a backup beside everything else, and returns the file state.
func (h *host) salvaged(id string) string {
	h.t.Helper()
	_, m, err := h.agent.catalogue.BackupInfo(h.t.Context(), id)
	if err != nil {
		h.t.Fatal(err)
	}
	repo := h.agent.repo
	reader, _, err := repo.Open(h.t.Context(), m, repo.BucketPacks())
	if err != nil {
		h.t.Fatal(err)
	}
	folder := filepath.Join(h.t.TempDir(), "restored")
	if err := restore.Export(h.t.Context(), reader, m, folder, nil); err != nil {
		h.t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(folder, "files", "state"))
	if err != nil {
		h.t.Fatal(err)
	}
	return string(data)
}

// copied copies the data folder while the agent is stopped.
func (h *host) copied() (to string) {
	h.t.Helper()
	h.halt()
	to = filepath.Join(h.t.TempDir(), "old")
	h.copyData(to)
	h.start()
	return to
}

// eachWay runs a test with data folders of which it shows that they were put back,
// and with ones of which it does not.
func eachWay(t *testing.T, test func(t *testing.T, c *cluster, seen bool)) {
	for name, seen := range map[string]bool{"seen": true, "unseen": false} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *cluster) { test(t, c, seen) })
		})
	}
}

// TestTheRemedyOfARefusedActiveLosesNothing: what a promotion of it replaces is
// listed first.
func TestTheRemedyOfARefusedActiveLosesNothing(t *testing.T) {
	eachWay(t, func(t *testing.T, c *cluster, seen bool) {
		a, b, _, _ := threeHosts(t, c)
		old := a.copied()
		a.untilLeading()
		a.write("state", "two")
		a.backup()
		a.halt()
		a.write("state", "never backed up")
		a.putBack(old, seen)
		a.start()
		a.until("refused, and its state is kept", func(s report.Status) bool { return s.Refused != "" && s.Demotion != nil && s.Demotion.Made })
		a.promote(promotions.PromotionRequest{Mode: ha.ModeFailover})
		a.untilLeading()
		a.has(map[string]string{"state": "two"})
		b.until("follows", func(s report.Status) bool { return s.Epoch == 2 })
		b.lists("never backed up")
		a.until("healthy in its own eyes", func(s report.Status) bool { return s.Refused == "" && s.Demotion == nil })
		a.halt()
		a.start()
		a.untilLeading()
	})
}

// TestAnActiveThatWasPutBackToItsStandbyDaysIsRefused: the head names it, and it
// does not know.
func TestAnActiveThatWasPutBackToItsStandbyDaysIsRefused(t *testing.T) {
	eachWay(t, func(t *testing.T, c *cluster, seen bool) {
		_, b, d, _ := threeHosts(t, c)
		old := b.copied()
		b.until("follows", func(s report.Status) bool { return s.State == report.StateInSync && s.Bucket == "ok" })
		b.promote(promotions.PromotionRequest{})
		b.untilLeading()
		b.backup()
		b.halt()
		b.write("state", "never backed up")
		b.putBack(old, seen)
		b.start()
		s := b.until("refused, and its state is kept", func(s report.Status) bool { return s.Demotion != nil && s.Demotion.Told })
		if s.State != report.StateRefused || s.Healthy || b.hooks.isRunning() {
			t.Errorf("%+v", s)
		}
		d.lists("never backed up")
		b.has(map[string]string{"state": "never backed up"})
		d.until("the active is silent", func(s report.Status) bool { return s.Silent() })
		d.promote(promotions.PromotionRequest{Mode: ha.ModeFailover})
		d.untilLeading()
		if seen {
			b.halt()
		} else if err := b.ended(); !ha.IsRefusal(err) { // its record is that of its own future
			t.Errorf("it ends with %v", err)
		}
		b.stop = nil
		b.join(true)
		b.start()
		b.until("a standby again", func(s report.Status) bool { return s.Refused == "" && s.State == report.StateInSync })
	})
}

// TestAStandbyThatMissedItsOwnEpochKeepsWhatItHas: another was promoted meanwhile,
// so that the head does not name it any more.
func TestAStandbyThatMissedItsOwnEpochKeepsWhatItHas(t *testing.T) {
	eachWay(t, func(t *testing.T, c *cluster, seen bool) {
		_, b, d, _ := threeHosts(t, c)
		old := b.copied()
		b.until("follows", func(s report.Status) bool { return s.State == report.StateInSync && s.Bucket == "ok" })
		b.promote(promotions.PromotionRequest{})
		b.untilLeading()
		b.halt()
		b.write("state", "never backed up")
		d.until("the active is silent", func(s report.Status) bool { return s.Epoch == 2 && s.Silent() })
		d.promote(promotions.PromotionRequest{Mode: ha.ModeFailover})
		d.untilLeading()
		b.putBack(old, seen)
		b.start()
		b.until("its state is kept", func(s report.Status) bool {
			return s.Epoch == 3 && (s.Demotion == nil || s.Demotion.Told) && !s.Owes || s.Refused != "" && s.Demotion != nil && s.Demotion.Told
		})
		d.lists("never backed up")
	})
}

// TestAnOldActiveWhoseFolderWasPutBackSalvagesFirst: its record is not its own any
// more, and its state is kept all the same.
func TestAnOldActiveWhoseFolderWasPutBackSalvagesFirst(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, _, _ := threeHosts(t, c)
		old := a.copied()
		a.untilLeading()
		a.backup()
		a.halt()
		a.write("state", "never backed up")
		b.until("the active is silent", func(s report.Status) bool { return s.Silent() })
		b.promote(promotions.PromotionRequest{Mode: ha.ModeFailover})
		b.untilLeading()
		a.putBack(old, false)
		a.start()
		if err := a.ended(); !ha.IsRefusal(err) || !strings.Contains(err.Error(), "in use") {
			t.Errorf("it ends with %v", err)
		}
		a.stop = nil
		b.lists("never backed up")
		a.join(true)
		a.start()
		a.until("in sync", func(s report.Status) bool { return s.State == report.StateInSync && s.Demotion == nil })
	})
}

// TestAStolenRecordIsTakenBack: a copy of a standby runs beside it, and the original
// is promoted.
func TestAStolenRecordIsTakenBack(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, d, _ := threeHosts(t, c)
		clone := c.host("clone")
		clone.name = b.name
		b.copyData(clone.data)
		clone.unnoticed()
		b.promote(promotions.PromotionRequest{})
		b.untilLeading()
		clone.start()
		clone.until("refused", func(s report.Status) bool { return s.State == report.StateRefused })
		c.pass(10 * time.Second)
		red := func(s report.Status) bool {
			return strings.Contains(strings.Join(s.Problems, "\n"), "has written its record")
		}
		b.until("red", red)
		for _, h := range []*host{a, d} {
			h.until("red everywhere", red)
		}
		id := b.backup() // the copy caches it, too, and has news
		clone.untilCached(id)
		for range 20 {
			c.pass(10 * time.Second)
			for _, h := range []*host{a, b, d} {
				if !red(h.agent.Status()) {
					t.Fatalf("%s is not red any more, and the copy runs", h.name)
				}
			}
		}
		clone.halt()
		b.halt()
		b.start()
		b.untilLeading()
		d.until("well again", func(s report.Status) bool { return !red(s) })
	})
}

// TestAnActiveWhoseRecordIsAnothersStarts: the copy ran while it was stopped.
func TestAnActiveWhoseRecordIsAnothersStarts(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		_, b, _, _ := threeHosts(t, c)
		b.promote(promotions.PromotionRequest{})
		b.untilLeading()
		b.halt()
		if err := b.forge("somebody else"); err != nil {
			t.Fatal(err)
		}
		if _, err := Join(t.Context(), b.config(), Joining{}); !ha.IsRefusal(err) || !strings.Contains(err.Error(), "serve") {
			t.Errorf("join says %v", err)
		}
		b.start()
		b.untilLeading()
		b.backup()
	})
}

// forge writes the record of this host under another incarnation.
func (h *host) forge(incarnation string) error {
	b := h.agent.control
	object, attrs, err := b.Read(h.t.Context(), ha.KindInstance, ha.InstanceKey(h.name), "")
	if err != nil {
		return err
	}
	rec := *object.(*ha.Instance)
	rec.Incarnation, rec.Nonce = incarnation, incarnation
	_, err = b.Write(h.t.Context(), ha.KindInstance, ha.InstanceKey(h.name), &rec, blobstore.IfMatch(attrs.Token))
	return err
}

// TestJoiningAfreshKeepsWhatTheActiveHad: also one that has lost its data folder.
func TestJoiningAfreshKeepsWhatTheActiveHad(t *testing.T) {
	for _, what := range []string{"its folder", "no folder", "replaced meanwhile, no folder", "a blank host"} {
		t.Run(what, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *cluster) {
				a, b, _, _ := threeHosts(t, c)
				a.halt()
				a.write("state", "never backed up")
				if what != "its folder" {
					if err := os.RemoveAll(a.data); err != nil {
						t.Fatal(err)
					}
				}
				b.until("the active is silent", func(s report.Status) bool { return s.Silent() })
				if what == "replaced meanwhile, no folder" || what == "a blank host" {
					b.promote(promotions.PromotionRequest{Mode: ha.ModeFailover})
					b.untilLeading()
				}
				if what == "a blank host" {
					if err := os.RemoveAll(a.app); err != nil {
						t.Fatal(err)
					}
				}
				a.join(true)
				a.start()
				if what == "a blank host" {
					a.until("in sync", func(s report.Status) bool { return s.State == report.StateInSync && s.Demotion == nil })
					return
				}
				a.until("its state is kept", func(s report.Status) bool {
					return s.Role == ha.RoleStandby && (s.Demotion == nil && s.Refused == "" && s.Bucket == "ok" || s.Demotion != nil && s.Demotion.Told)
				})
				b.lists("never backed up")
				if what == "its folder" {
					b.promote(promotions.PromotionRequest{Mode: ha.ModeFailover})
					b.untilLeading()
					a.until("in sync", func(s report.Status) bool { return s.State == report.StateInSync && s.Demotion == nil })
				}
			})
		})
	}
}

// TestAMovedDataFolderIsAccepted: on an operator's word, which is recorded.
func TestAMovedDataFolderIsAccepted(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, _, _ := threeHosts(t, c)
		a.halt()
		a.hooks.running = false
		moved := filepath.Join(t.TempDir(), "moved")
		a.copyData(moved)
		if err := os.RemoveAll(a.data); err != nil {
			t.Fatal(err)
		}
		a.data = moved
		for range 2 { // it is not forgotten by a restart
			a.start()
			s := a.until("refused", func(s report.Status) bool {
				return s.State == report.StateRefused && s.Demotion != nil && s.Demotion.Made
			})
			if s.Leading || a.hooks.isRunning() || s.Demotion.Salvage != nil {
				t.Errorf("%+v", s)
			}
			a.halt()
		}
		if accepted, err := AcceptHost(t.Context(), a.config()); err != nil || !accepted {
			t.Fatal(accepted, err)
		}
		if accepted, err := AcceptHost(t.Context(), a.config()); err != nil || accepted {
			t.Fatal(accepted, err)
		}
		a.start()
		a.untilLeading()
		b.untilCached(a.backup())
		if e := a.agent.Events().Recent(0, 1000); !slices.ContainsFunc(e, func(e event.Event) bool { return strings.Contains(e.Text, "is accepted on this host") }) {
			t.Error("it is not recorded")
		}
	})
}

// TestASalvageKeepsWhatIsThere: of a host that has some of its sources, those are
// kept, and it is said which are not there. What only cannot be seen is waited for.
func TestASalvageKeepsWhatIsThere(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b := c.host("a"), c.host("b")
		for _, h := range []*host{a, b} {
			h.change = func(cfg *Config) {
				pictures, err := directory.New("pictures", directory.Config{Path: h.app + "-pictures"})
				if err != nil {
					t.Fatal(err)
				}
				cfg.Sources = append(cfg.Sources, pictures)
			}
			if err := os.Mkdir(h.app+"-pictures", 0o700); err != nil {
				t.Fatal(err)
			}
		}
		a.write("state", "one")
		a.init()
		a.start()
		a.untilLeading()
		b.join(false)
		b.start()
		b.untilCached(a.backup())
		a.halt()
		a.write("state", "never backed up")
		b.until("the active is silent", func(s report.Status) bool { return s.Silent() })
		b.promote(promotions.PromotionRequest{Mode: ha.ModeFailover})
		b.untilLeading()
		pictures := a.app + "-pictures"
		if err := errors.Join(os.Remove(pictures), os.Symlink("/nowhere/at/all", pictures)); err != nil {
			t.Fatal(err)
		}
		a.start()
		a.until("the salvage backup waits for what cannot be seen", func(s report.Status) bool {
			return s.Demotion != nil && !s.Demotion.Made && slices.ContainsFunc(a.agent.Events().Recent(0, 100), func(e event.Event) bool {
				return e.Kind == "salvage" && strings.Contains(e.Text, "failed")
			})
		})
		if err := os.Remove(pictures); err != nil {
			t.Fatal(err)
		}
		a.until("a standby", func(s report.Status) bool { return s.State == report.StateInSync && s.Demotion == nil })
		b.lists("never backed up")
		all, err := b.agent.catalogue.Backups(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, info := range all {
			if _, m, err := b.agent.catalogue.BackupInfo(t.Context(), info.ID); info.Salvage && (err != nil || !strings.Contains(strings.Join(m.Warnings, "\n"), pictures+" is missing")) {
				t.Errorf("warnings %q, %v", m.Warnings, err)
			}
		}
	})
}

// TestAHostThatJoinsUnderAnotherNameKeepsWhatItHas: it was the active, and has lost
// its data folder. That shows by its URL; where that is another too, it is said what
// the host has, until it is kept.
func TestAHostThatJoinsUnderAnotherNameKeepsWhatItHas(t *testing.T) {
	for name, sameURL := range map[string]bool{"same URL": true, "another URL": false} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *cluster) {
				a, b, _, _ := threeHosts(t, c)
				a.halt()
				a.write("state", "never backed up")
				b.until("the active is silent", func(s report.Status) bool { return s.Silent() })
				b.promote(promotions.PromotionRequest{Mode: ha.ModeFailover})
				b.untilLeading()
				wiped := c.host("wiped")
				wiped.app = a.app
				wiped.change = func(cfg *Config) {
					if sameURL {
						cfg.URL = "http://a"
					}
				}
				joined, err := Join(t.Context(), wiped.config(), Joining{})
				if err != nil || (joined.Unkept == "") != sameURL {
					t.Fatalf("%+v, %v", joined, err)
				}
				wiped.start()
				if !sameURL {
					said := "files (1 files)"
					wiped.until("says what it has", func(s report.Status) bool { return strings.Contains(strings.Join(s.Caveats, "\n"), said) })
					p, err := wiped.agent.promotions.Preflight(t.Context(), promotions.PromotionRequest{})
					if err != nil || !strings.Contains(strings.Join(p.Notes, "\n"), said) {
						t.Errorf("before a promotion: %+v, %v", p, err)
					}
					wiped.halt()
					joined, err := Join(t.Context(), wiped.config(), Joining{Replace: true, Salvage: true})
					if err != nil || joined.Unkept != "" {
						t.Fatalf("%+v, %v", joined, err)
					}
					wiped.start()
				}
				wiped.until("a standby that owes nothing", func(s report.Status) bool {
					return s.State == report.StateInSync && s.Demotion == nil && s.Unkept == "" && !strings.Contains(strings.Join(s.Caveats, "\n"), "a state of its own")
				})
				b.lists("never backed up")
			})
		})
	}
}

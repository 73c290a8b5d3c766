package agent

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/source/directory"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/application"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
)

// more is a host's configuration with another source.
func (h *host) more(name string) Live {
	h.t.Helper()
	path := filepath.Join(filepath.Dir(h.app), name)
	if err := os.MkdirAll(path, 0o700); err != nil {
		h.t.Fatal(err)
	}
	src, err := directory.New(name, directory.Config{Path: path})
	if err != nil {
		h.t.Fatal(err)
	}
	next := *h.agent.live()
	next.Sources = append(slices.Clone(next.Sources), src)
	return next
}

// names are the sources in a backup.
func (h *host) names(id string) []string {
	h.t.Helper()
	info, _, err := h.agent.catalogue.BackupInfo(h.t.Context(), id)
	if err != nil {
		h.t.Fatal(err)
	}
	var names []string
	for _, s := range info.Sources {
		names = append(names, s.Name)
	}
	return names
}

// TestSourcesChangeWhenNothingIsUnderWay: hooks at once, sources after the
// backup that is being made.
func TestSourcesChangeWhenNothingIsUnderWay(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, _, _, _ := threeHosts(t, c)
		next := a.more("uploads")
		next.Hooks.PreBackup = application.Hook{Command: []string{"true"}}
		same := next
		same.Sources = a.agent.live().Sources
		if err := a.agent.reloading.Reload(t.Context(), same); err != nil {
			t.Fatal(err)
		}
		if s := a.agent.Status(); s.Reload == nil || s.Reload.State != report.ReloadDone || !s.Healthy {
			t.Errorf("%+v", s.Reload)
		}
		a.hooks.block("pre_backup")
		made := make(chan string, 1)
		go func() { made <- a.backup() }()
		a.until("a backup is being made", func(s report.Status) bool { return s.Work == "backup" })
		done := make(chan error, 1)
		go func() { done <- a.agent.reloading.Reload(t.Context(), next) }()
		a.until("the change waits", func(s report.Status) bool { return s.Reload.State == report.ReloadWaiting })
		later := a.more("later")
		later.Hooks = next.Hooks
		second := make(chan error, 1)
		go func() { second <- a.agent.reloading.Reload(t.Context(), later) }()
		if err := <-done; !ha.IsRefusal(err) {
			t.Errorf("a later change came, and the one before ends with %v", err)
		}
		a.hooks.unblock()
		if got := a.names(<-made); !slices.Equal(got, []string{"files"}) {
			t.Errorf("the backup under way has %q", got)
		}
		if err := <-second; err != nil {
			t.Fatal(err)
		}
		if s := a.agent.Status(); s.Reload.State != report.ReloadDone {
			t.Errorf("%+v", s.Reload)
		}
		if got := a.names(a.backup()); !slices.Equal(got, []string{"files", "later"}) {
			t.Errorf("the next backup has %q", got)
		}
	})
}

// TestAStageOfOtherSourcesIsDropped, and the backup rehearsed with those that
// are in force. A promotion restores them all.
func TestAStageOfOtherSourcesIsDropped(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, _, first := threeHosts(t, c)
		b.until("rehearsed", func(s report.Status) bool { return s.Staged == first })
		if err := errors.Join(a.agent.reloading.Reload(t.Context(), a.more("uploads")), b.agent.reloading.Reload(t.Context(), b.more("uploads"))); err != nil {
			t.Fatal(err)
		}
		upload := filepath.Join(filepath.Dir(a.app), "uploads", "one")
		if err := os.WriteFile(upload, []byte("of a"), 0o600); err != nil {
			t.Fatal(err)
		}
		newest := a.backup()
		b.until("rehearsed again", func(s report.Status) bool { return s.Staged == newest })
		b.promote(promotions.PromotionRequest{})
		if text, err := os.ReadFile(filepath.Join(filepath.Dir(b.app), "uploads", "one")); err != nil || string(text) != "of a" {
			t.Errorf("%q, %v", text, err)
		}
	})
}

func TestAConfigurationFileThatCannotBeUsedIsTold(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, _, _, _ := threeHosts(t, c)
		a.agent.reloading.Refuse(t.Context(), errors.New("line 3: unknown key \"hoks\""))
		s := a.agent.Status()
		if s.Healthy || s.Reload.State != report.ReloadRefused || !strings.Contains(s.Problems[0], "the old one stays in force: line 3") {
			t.Errorf("%+v: %q", s.Reload, s.Problems)
		}
		a.tells(event.Warn, "reload", "line 3")
		if err := a.agent.reloading.Reload(t.Context(), *a.agent.live()); err != nil {
			t.Fatal(err)
		}
		if s := a.agent.Status(); !s.Healthy || s.Reload.State != report.ReloadDone {
			t.Errorf("%+v: %q", s.Reload, s.Problems)
		}
	})
}

package agent

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/requests"
)

// TestWhatIsDoneSaysOnWhoseWord goes through what operators do.
func TestWhatIsDoneSaysOnWhoseWord(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, _, _ := threeHosts(t, c)
		alice := event.WithActor(t.Context(), "alice")
		for _, err := range []error{
			a.agent.shared.SetConfig(alice, map[string]string{"frequency": "10m", "fencing": "strict", "retention": "14d"}),
			a.agent.requests.Pause(alice, requests.PauseRequest{Reason: "migration"}),
			a.agent.requests.Resume(alice),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		ref, err := a.agent.requests.Backup(alice, "", "before the upgrade")
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			err := b.agent.requests.BackupSoon(alice, "", "")
			if !ha.IsRefusal(err) {
				t.Fatalf("a backup on a standby: %v", err)
			}
			b.agent.witness.NoteRefusal(alice, "request-backup", err)
		}
		for _, want := range []struct {
			h          *host
			kind, text string
		}{
			{a, "config", "frequency was changed from 5m0s to 10m0s, fencing was changed from available to strict"},
			{a, "schedule", "the schedule of backups was paused (migration)"},
			{a, "schedule", "the schedule of backups was resumed"},
			{a, "backup", "backup " + ref.ID + " is published (before the upgrade)"},
			{b, "refusal", "request-backup was refused: "},
		} {
			events, err := want.h.agent.Events().Select(event.Filter{Kinds: []string{want.kind}})
			if err != nil {
				t.Fatal(err)
			}
			events = slices.DeleteFunc(events, func(e event.Event) bool { return !strings.HasPrefix(e.Text, want.text) || e.By != "alice" })
			if len(events) != 1 {
				want.h.dump()
				t.Errorf("%s told %d times: %s %s", want.h.name, len(events), want.kind, want.text)
			}
		}
		if info, _, err := b.agent.catalogue.BackupInfo(t.Context(), ref.ID); err != nil || info.By != "alice" {
			t.Errorf("the backup was asked for by %q, %v", info.By, err)
		}
		b.promoteBy("bob", promotions.PromotionRequest{Reason: "drill"})
		events, err := b.agent.Events().Select(event.Filter{Kinds: []string{"promotion"}})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.By != "bob" {
				t.Errorf("a step of bob's promotion: %+v", e)
			}
		}
		if len(events) < 6 {
			t.Errorf("%d steps of a promotion", len(events))
		}
	})
}

// TestEveryKindOfEventIsListed: filters and webhooks refuse a kind that is not
// in event.Kinds, so one that is missing there could not be chosen.
func TestEveryKindOfEventIsListed(t *testing.T) {
	told := regexp.MustCompile(`(?:report|[Nn]ote)\((?:ctx, )?(?:event\.)?(?:Info|Warn|Alarm|level), "([a-z]+)"|reportBy\([^,]+, \w+, "([a-z]+)"|workFailed\("([a-z]+)"`)
	named := regexp.MustCompile(`(?:[Tt]rouble|[Tt]roubleOver)\(ctx, (?:\w+\.)?(\w+)|[Nn]ote\(ctx, event\.\w+, (?:\w+\.)?(\w+)`)
	constant := regexp.MustCompile(`(?m)^\s*(?:const )?(\w+) += "([a-z]+)"`)
	found, constants, names := 0, map[string]string{}, map[string]string{}
	for _, pattern := range []string{"../*.go", "../*/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, match := range constant.FindAllStringSubmatch(string(text), -1) {
				constants[match[1]] = match[2]
			}
			for _, match := range named.FindAllStringSubmatch(string(text), -1) {
				names[match[1]+match[2]] = name
			}
			for _, match := range told.FindAllStringSubmatch(string(text), -1) {
				kind := match[1] + match[2] + match[3]
				if found++; !event.KnownKind(kind) {
					t.Errorf("%s tells of kind %q: add it to event.Kinds", name, kind)
				}
			}
		}
	}
	for name, file := range names {
		if kind, ok := constants[name]; ok && !event.KnownKind(kind) {
			t.Errorf("%s tells of kind %q: add it to event.Kinds", file, kind)
		}
	}
	if found < 40 || len(names) < 10 {
		t.Errorf("%d places that tell, and %d kinds with names, were found: the pattern no longer fits", found, len(names))
	}
}

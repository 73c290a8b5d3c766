package agent

import (
	"slices"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/retention"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
)

// TestASalvageThatNoRecordNamesIsListed: an older version lost records, and
// whoever can write to the bucket can remove one. What lies in the folder of
// salvage backups is listed, told of, restored, and promoted to all the same.
func TestASalvageThatNoRecordNamesIsListed(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, d, first := threeHosts(t, c)
		a.halt()
		a.write("state", "never backed up")
		b.until("a is silent", func(s report.Status) bool { return s.Silent() })
		b.promote(promotions.PromotionRequest{Mode: ha.ModeFailover})
		b.untilLeading()
		a.start()
		a.until("stepped down", func(s report.Status) bool { return s.Role == ha.RoleStandby && s.Demotion == nil })
		var salvaged string
		for _, key := range c.memory.Keys() {
			if ref, err := backup.ParseKey(key); err == nil && ref.IsSalvage() {
				salvaged = ref.ID
			}
			if strings.HasSuffix(key, ".salvage.json") {
				if err := c.memory.Delete(t.Context(), key); err != nil {
					t.Fatal(err)
				}
			}
		}
		forged := retention.Folders[1] + "2000-01-01/20000101T000000Z-e00000001-s00000009-00000000.json"
		for _, key := range []string{forged, retention.Folders[1] + "notes.txt"} {
			if _, err := c.memory.Put(t.Context(), key, []byte("anything"), blobstore.Always); err != nil {
				t.Fatal(err)
			}
		}

		list, err := d.agent.catalogue.BackupsAfter(t.Context(), "", 0)
		if err != nil {
			t.Fatal(err)
		}
		shown, damaged := 0, 0
		for _, info := range list.Backups {
			switch {
			case info.ID == salvaged && info.Salvage && info.Instance == "a":
				shown++
			case info.Damaged != "":
				damaged++
			}
		}
		if shown != 1 || damaged != 1 {
			t.Errorf("shown %d times, %d damaged: %+v", shown, damaged, list)
		}
		if _, err := d.agent.catalogue.BackupsAfter(t.Context(), salvaged, 1); err != nil {
			t.Error(err)
		}
		info, _, err := d.agent.catalogue.BackupInfo(t.Context(), salvaged)
		if err != nil || !info.Salvage || info.Unlinked {
			t.Errorf("%+v, %v", info, err)
		}
		page, err := d.agent.catalogue.ClusterHistory(t.Context(), "", 0)
		if err != nil || !slices.ContainsFunc(page.Events, func(e control.ClusterEvent) bool { return e.Kind == control.SalvageKind && e.Backup == salvaged }) {
			t.Errorf("%+v, %v", page, err)
		}
		taken, err := d.agent.chain.Takeover(t.Context(), 2)
		if err != nil || !slices.ContainsFunc(taken.Lost, func(text string) bool { return strings.Contains(text, "backups diff "+first+" "+salvaged) }) {
			t.Errorf("%+v, %v", taken, err)
		}
		d.until("follows b", func(s report.Status) bool { return s.Epoch == 2 })
		d.promote(promotions.PromotionRequest{Backup: salvaged})
		d.untilLeading()
		d.has(map[string]string{"state": "never backed up"})
	})
}

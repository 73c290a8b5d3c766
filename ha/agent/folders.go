package agent

import (
	"context"
	"fmt"

	"github.com/dustin/go-humanize"

	"github.com/understudy-ha/understudy/ha/datadir"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/upkeep"
)

// lookAtFolders moves aside what stands in the place of folders of the data folder,
// where the agent makes them again, and says so.
func (a *Agent) lookAtFolders(ctx context.Context) {
	const key = "folders"
	var names []string
	for _, src := range a.live().Sources {
		names = append(names, src.Name())
	}
	moved, err := a.dir.ClearFolders(names)
	for _, text := range moved {
		a.tell.Note(ctx, event.Warn, upkeep.CacheKind, text+"; what the folder held is fetched or made again: who writes in the data folder?", nil)
	}
	if err != nil {
		a.tell.Trouble(ctx, upkeep.CacheKind, key, err.Error())
	} else {
		a.tell.TroubleOver(ctx, upkeep.CacheKind, key, "nothing stands in the place of a folder any more")
	}
}

// lookAtRoom raises a trouble while the data folder's disk is as good as full.
func (a *Agent) lookAtRoom(ctx context.Context) {
	const kind, key = "disk", "data folder"
	if a.dir.IsFull() {
		a.tell.Trouble(ctx, kind, key, fmt.Sprintf("the disk of the data folder %s is full (less than %s free): make room, or backups, pulls and restores fail, and then the agent", a.dir.Path(), humanize.IBytes(datadir.LowRoom)))
		return
	}
	a.tell.TroubleOver(ctx, kind, key, "the disk of the data folder has room again")
}

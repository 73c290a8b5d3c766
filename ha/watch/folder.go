package watch

import (
	"context"
	"fmt"

	"github.com/dustin/go-humanize"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/ha/datadir"
	"github.com/understudy-ha/understudy/ha/event"
)

// Folder looks whether the data folder has room, and whether its folders are folders.
type Folder struct {
	dir     Dir
	log     event.Reporter
	sources func() []source.Source // in force
}

// Dir is the data folder.
type Dir interface {
	// ClearFolders moves aside what stands in the place of folders, of the sources too,
	// and says what that was.
	ClearFolders(sources []string) (moved []string, err error)
	IsFull() bool
	// Path names it for people.
	Path() string
}

// NewFolder has not looked yet.
func NewFolder(dir Dir, log event.Reporter, sources func() []source.Source) *Folder {
	return &Folder{dir: dir, log: log, sources: sources}
}

// Look looks once.
func (f *Folder) Look(ctx context.Context) {
	f.lookAtRoom(ctx)
	f.lookAtFolders(ctx)
}

// lookAtFolders moves aside what stands in the place of folders of the data folder,
// where the agent makes them again, and says so.
func (f *Folder) lookAtFolders(ctx context.Context) {
	const cacheKind, key = "cache", "folders"
	var names []string
	for _, src := range f.sources() {
		names = append(names, src.Name())
	}
	moved, err := f.dir.ClearFolders(names)
	for _, text := range moved {
		f.log.Note(ctx, event.Warn, cacheKind, text+"; what the folder held is fetched or made again: who writes in the data folder?", nil)
	}
	if err != nil {
		f.log.Trouble(ctx, cacheKind, key, err.Error())
	} else {
		f.log.TroubleOver(ctx, cacheKind, key, "nothing stands in the place of a folder any more")
	}
}

// lookAtRoom raises a trouble while the data folder's disk is as good as full.
func (f *Folder) lookAtRoom(ctx context.Context) {
	const kind, key = "disk", "data folder"
	if f.dir.IsFull() {
		f.log.Trouble(ctx, kind, key, fmt.Sprintf("the disk of the data folder %s is full (less than %s free): make room, or backups, pulls and restores fail, and then the agent", f.dir.Path(), humanize.IBytes(datadir.LowRoom)))
		return
	}
	f.log.TroubleOver(ctx, kind, key, "the disk of the data folder has room again")
}

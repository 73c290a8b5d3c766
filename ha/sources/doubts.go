package sources

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/ha/event"
)

// doubtKind is the kind of troubles of the live state that is backed up.
const doubtKind = "state"

// Doubts are what the newest backup says against the state that it is of.
type Doubts struct {
	log     event.Reporter
	inForce func() []source.Source
}

// NewDoubts tells to a log.
func NewDoubts(log event.Reporter, inForce func() []source.Source) *Doubts {
	return &Doubts{log, inForce}
}

// Tell raises what the newest backup says against the state that it is of,
// until a backup does not say so any more.
func (d *Doubts) Tell(ctx context.Context, m *backup.Manifest) {
	for _, e := range m.Sources {
		torn, damaged := "torn "+e.Name, "damaged "+e.Name
		if len(e.Torn) > 0 {
			d.log.Trouble(ctx, doubtKind, torn, fmt.Sprintf("source %s: the backup may be of no use in files that changed each time they were read (%s): "+
				"stop writing to them in the pre_backup hook, exclude them, or make them a source of the kind that they are", e.Name, quoted(e.Torn)))
		} else {
			d.log.TroubleOver(ctx, doubtKind, torn, fmt.Sprintf("source %s: every file of the newest backup was read whole", e.Name))
		}
		if len(e.Damaged) > 0 {
			d.log.Trouble(ctx, doubtKind, damaged, fmt.Sprintf("source %s: the live database is damaged, and its backups are (%s): repair it (REINDEX where an index lacks rows), "+
				"or restore an earlier backup", e.Name, strings.Join(Few(e.Damaged), "; ")))
		} else {
			d.log.TroubleOver(ctx, doubtKind, damaged, fmt.Sprintf("source %s: the live database is not damaged any more", e.Name))
		}
	}
}

// Over forgets what was wrong with a state that is not the live one any
// more.
func (d *Doubts) Over(ctx context.Context) {
	for _, src := range d.inForce() {
		for _, key := range []string{"torn ", "damaged "} {
			d.log.TroubleOver(ctx, doubtKind, key+src.Name(), fmt.Sprintf("source %s: its state is not backed up here any more", src.Name()))
		}
	}
}

func quoted(paths []string) string {
	texts := make([]string, len(paths))
	for i, p := range paths {
		texts[i] = fmt.Sprintf("%q", p)
	}
	return strings.Join(Few(texts), ", ")
}

// maxTexts bounds what is said of each kind.
const maxTexts = 5

// Few shortens a list for people.
func Few(texts []string) []string {
	if len(texts) <= maxTexts {
		return texts
	}
	return append(slices.Clone(texts[:maxTexts]), fmt.Sprintf("and %d more", len(texts)-maxTexts))
}

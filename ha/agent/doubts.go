package agent

import (
	"context"
	"fmt"
	"strings"

	"github.com/understudy-ha/understudy/backup"
)

// doubtKind is the kind of troubles of the live state that is backed up.
const doubtKind = "state"

// tellDoubts raises what the newest backup says against the state that it is of,
// until a backup does not say so any more.
func (a *Agent) tellDoubts(ctx context.Context, m *backup.Manifest) {
	for _, e := range m.Sources {
		torn, damaged := "torn "+e.Name, "damaged "+e.Name
		if len(e.Torn) > 0 {
			a.tell.Trouble(ctx, doubtKind, torn, fmt.Sprintf("source %s: the backup may be of no use in files that changed each time they were read (%s): "+
				"stop writing to them in the pre_backup hook, exclude them, or make them a source of the kind that they are", e.Name, quoted(e.Torn)))
		} else {
			a.tell.TroubleOver(ctx, doubtKind, torn, fmt.Sprintf("source %s: every file of the newest backup was read whole", e.Name))
		}
		if len(e.Damaged) > 0 {
			a.tell.Trouble(ctx, doubtKind, damaged, fmt.Sprintf("source %s: the live database is damaged, and its backups are (%s): repair it (REINDEX where an index lacks rows), "+
				"or restore an earlier backup", e.Name, strings.Join(few(e.Damaged), "; ")))
		} else {
			a.tell.TroubleOver(ctx, doubtKind, damaged, fmt.Sprintf("source %s: the live database is not damaged any more", e.Name))
		}
	}
}

// doubtsOver forgets what was wrong with a state that is not the live one any
// more.
func (a *Agent) doubtsOver(ctx context.Context) {
	for _, src := range a.live().Sources {
		for _, key := range []string{"torn ", "damaged "} {
			a.tell.TroubleOver(ctx, doubtKind, key+src.Name(), fmt.Sprintf("source %s: its state is not backed up here any more", src.Name()))
		}
	}
}

func quoted(paths []string) string {
	texts := make([]string, len(paths))
	for i, p := range paths {
		texts[i] = fmt.Sprintf("%q", p)
	}
	return strings.Join(few(texts), ", ")
}

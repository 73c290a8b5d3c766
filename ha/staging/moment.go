package staging

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/application"
	"github.com/understudy-ha/understudy/restore"
)

// RestoreMoment is Restore of a moment: parts, by the names of their sources, are built anew,
// and what else there is is as in a backup. Nothing is attested: a moment is no backup.
func (s *Stage) RestoreMoment(ctx context.Context, ref backup.Ref, anyway bool, parts map[string]restore.Part) (note string, err error) {
	defer s.change()()
	var reached map[string]source.Reached
	found, err := s.judged(ctx, ref, anyway, func(ctx context.Context) (f findings, fresh bool, err error) {
		defer s.cfg.Progress.Clear()
		m, err := s.manifest(ref)
		if err != nil {
			return f, false, err
		}
		for _, e := range m.Sources {
			if p, ok := parts[e.Name]; ok {
				e = p.Entry
			}
			f.bytes += e.Size
		}
		reader, _, err := s.cfg.Repo.Open(ctx, m, s.cfg.Cache.Mending(s.cfg.Repo))
		if err != nil {
			return f, false, err
		}
		if reached, err = s.Swapper().StageMoment(ctx, reader, m, parts, s.cfg.Progress.Set); err != nil {
			return f, true, err
		}
		return f, true, f.examined(s.Swapper(), m)
	})
	if err = withWayOut(err); err != nil {
		return "", application.WithOutput(err, found.output)
	}
	note = "restored " + humanize.IBytes(uint64(max(0, found.bytes)))
	for _, name := range slices.Sorted(maps.Keys(reached)) {
		note += "; " + name + ": " + reachedText(reached[name])
	}
	return note, nil
}

// reachedText says what a source was brought to.
func reachedText(r source.Reached) string {
	text := []string{"its log up to " + r.Position, "without a commit since its base"}
	if r.Last != nil {
		text[1] = "the last commit is of " + ha.MomentText(*r.Last)
	}
	if r.Later != nil {
		text = append(text, fmt.Sprintf("the first that is left out is of %s", ha.MomentText(*r.Later)))
	}
	return strings.Join(text, ", ")
}

package promotions

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/report"
)

// reported reads what the active last said of itself, and compares it with a
// backup; nil when it said nothing.
func (o *Promotions) reported(ctx context.Context, active string, m *backup.Manifest) (*Reported, error) {
	object, attrs, err := o.host.Control.Read(ctx, ha.KindInstance, ha.InstanceKey(active), "")
	if errors.Is(err, blobstore.ErrNotFound) || errors.Is(err, control.ErrUnverified) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r := &Reported{Time: attrs.Time, Age: max(0, o.host.Control.Time().Sub(attrs.Time)).Seconds()}
	positions := object.(*ha.Instance).Positions
	for _, e := range m.Sources {
		if at, ok := positions[e.Name]; ok {
			r.Sources = append(r.Sources, SourceReported{Name: e.Name, Position: at, Lacks: source.Since(e, at)})
		}
	}
	return r, nil
}

// String says it in one line, for people.
func (r *Reported) String() string {
	var lacks, has []string
	for _, s := range r.Sources {
		if s.Lacks != "" {
			lacks = append(lacks, fmt.Sprintf("%s (%s)", s.Lacks, s.Name))
		} else {
			has = append(has, s.Name)
		}
	}
	text := report.Seconds(r.Age) + " ago"
	switch {
	case len(lacks) > 0:
		return text + ", and had by then what the backup lacks: " + strings.Join(lacks, ", ")
	case len(has) > 0:
		return text + ", and had by then nothing that the backup lacks in " + strings.Join(has, ", ")
	}
	return text
}

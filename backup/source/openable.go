package source

import (
	"context"

	"github.com/understudy-ha/understudy/backup/holder"
)

// Openable is a Restorer whose state lies in files that somebody may have open while
// a swap replaces them. One whose sessions Swap ends itself is none.
type Openable interface {
	// Live is where the live state lies that Swap would replace, or SwapBack take
	// away.
	Live() ([]holder.Place, error)
	// Replaced is where the state lies that Swap has replaced.
	Replaced() ([]holder.Place, error)
}

var (
	_ Openable = (*Directory)(nil)
	_ Openable = (*SQLite)(nil)
	_ Openable = (*Prometheus)(nil)
)

// Live implements Openable.
func (d *Directory) Live() ([]holder.Place, error) {
	var live holder.Place
	err := d.at(func(p placement) error {
		live.Path = p.at().target
		if m, ok := p.(*moving); ok {
			live.Except = []string{m.folder}
		}
		return nil
	})
	return []holder.Place{live}, err
}

// Replaced implements Openable.
func (d *Directory) Replaced() ([]holder.Place, error) {
	var replaced holder.Place
	err := d.at(func(p placement) error {
		replaced.Path = p.at().path(p.at().replaced)
		return nil
	})
	return []holder.Place{replaced}, err
}

// Live implements Openable.
func (s *SQLite) Live() (places []holder.Place, err error) {
	err = s.do("find", func(at *sqliteSite) error {
		places = at.places(at.Name)
		return nil
	})
	return places, err
}

// Replaced implements Openable.
func (s *SQLite) Replaced() (places []holder.Place, err error) {
	err = s.do("find", func(at *sqliteSite) error {
		places = at.places(at.replaced())
		return nil
	})
	return places, err
}

// places are a file and what belongs beside it.
func (s *sqliteSite) places(name string) []holder.Place {
	places := []holder.Place{{Path: s.Dir.Path(name)}}
	for _, side := range s.withSides(name) {
		places = append(places, holder.Place{Path: s.Dir.Path(side)})
	}
	return places
}

// Live implements Openable: the server that has it open is stopped by the swap
// itself, which looks for others then.
func (p *Prometheus) Live() ([]holder.Place, error) { return nil, nil }

// Replaced implements Openable.
func (p *Prometheus) Replaced() ([]holder.Place, error) { return p.tree.Replaced() }

// whoHolds returns somebody who has something in a data folder open; nil for
// nobody, as far as this process may see.
func (p *Prometheus) whoHolds(ctx context.Context) (*holder.Holder, error) {
	live, err := p.tree.Live()
	if err != nil {
		return nil, err
	}
	found, err := holder.Find(ctx, live, nil)
	if err != nil || len(found.Holders) == 0 {
		return nil, err
	}
	return &found.Holders[0], nil
}

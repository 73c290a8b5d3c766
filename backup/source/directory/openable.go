package directory

import (
	"github.com/understudy-ha/understudy/backup/holder"
	"github.com/understudy-ha/understudy/backup/source/internal/stage"
)

// Live implements Openable.
func (d *Source) Live() ([]holder.Place, error) {
	var live holder.Place
	err := d.at(func(p stage.Placement) error {
		live.Path = p.At().Target
		if p.Inside() {
			live.Except = []string{p.At().Folder}
		}
		return nil
	})
	return []holder.Place{live}, err
}

// Replaced implements Openable.
func (d *Source) Replaced() ([]holder.Place, error) {
	var replaced holder.Place
	err := d.at(func(p stage.Placement) error {
		replaced.Path = p.At().Path(p.At().Replaced)
		return nil
	})
	return []holder.Place{replaced}, err
}

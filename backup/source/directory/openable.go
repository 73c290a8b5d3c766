package directory

import "github.com/understudy-ha/understudy/backup/holder"

// Live implements Openable.
func (d *Source) Live() ([]holder.Place, error) {
	var live holder.Place
	err := d.at(func(p placement) error {
		live.Path = p.at().target
		if m, ok := p.(*entrySwap); ok {
			live.Except = []string{m.folder}
		}
		return nil
	})
	return []holder.Place{live}, err
}

// Replaced implements Openable.
func (d *Source) Replaced() ([]holder.Place, error) {
	var replaced holder.Place
	err := d.at(func(p placement) error {
		replaced.Path = p.at().path(p.at().replaced)
		return nil
	})
	return []holder.Place{replaced}, err
}

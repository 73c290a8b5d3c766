package source

// Nester is a source that others may lie in.
type Nester interface {
	// Nest has it leave out and bring along those of the others that lie in it.
	Nest(others []Placed)
}

// Nest has each source that can do so leave out and bring along the others in it.
func Nest(sources []Source) {
	for _, src := range sources {
		outer, ok := src.(Nester)
		if !ok {
			continue
		}
		var others []Placed
		for _, other := range sources {
			if p, ok := other.(Placed); ok && other != src {
				others = append(others, p)
			}
		}
		outer.Nest(others)
	}
}

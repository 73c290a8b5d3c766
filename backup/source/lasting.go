package source

import (
	"context"
	"fmt"
)

// Lasting says what of a source's live state could not be deleted once a swap has
// replaced it, as far as a look at the top of it tells. That keeps nothing from
// working, and takes room.
func Lasting(ctx context.Context, src Source) ([]string, error) {
	l, ok := src.(Laster)
	if !ok {
		return nil, nil // a file that can be renamed can be deleted
	}
	found, err := l.Lasting()
	if err != nil {
		return nil, fmt.Errorf("look at source %s: %w", src.Name(), err)
	}
	return found, ctx.Err()
}

// Laster is a source of which a part may last.
type Laster interface {
	Lasting() ([]string, error)
}

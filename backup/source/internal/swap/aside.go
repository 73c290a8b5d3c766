package swap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/polite"
	"github.com/understudy-ha/understudy/backup/source"
)

// Asides are the names of what is set aside in one folder: a prefix, and a
// number behind it. What has such a name is no part of any state, and only waits
// to be deleted. That something there cannot be deleted is in nobody's way: what
// comes later gets another number.
type Asides struct {
	in   *fsx.Dir // nil: it does not exist
	name string
}

// AsidesIn are the names in a directory that begin with name.
func AsidesIn(in *fsx.Dir, name string) Asides { return Asides{in, name} }

// names lists what is set aside.
func (a Asides) names() ([]string, error) {
	if a.in == nil {
		return nil, nil
	}
	all, err := a.in.Names()
	return slices.DeleteFunc(all, func(name string) bool {
		rest, ok := strings.CutPrefix(name, a.name)
		number, numbered := strings.CutPrefix(rest, "-")
		return !ok || rest != "" && !(numbered && isNumber(number))
	}), err
}

func isNumber(s string) bool {
	_, err := strconv.ParseUint(s, 10, 64)
	return err == nil
}

// maxAsides bounds the search for a name that nothing has.
const maxAsides = 1 << 16

// Add sets what has a name aside, whatever it is, if anything has it. It is durable
// once the folder is synced.
func (a Asides) Add(name string) (bool, error) {
	if a.in == nil {
		return false, nil
	}
	for n := 1; n < maxAsides; n++ {
		to := a.name + "-" + strconv.Itoa(n)
		if taken, err := a.in.Exists(to); err != nil {
			return false, err
		} else if taken {
			continue
		}
		switch err := a.in.RenameNew(name, a.in, to); {
		case errors.Is(err, fs.ErrExist):
		case errors.Is(err, fs.ErrNotExist):
			return false, nil
		default:
			return err == nil, err
		}
	}
	return false, fmt.Errorf("too much is set aside as %s: delete it", a.in.Path(a.name+"-*"))
}

// AddFiles sets the files that exist aside, in order, durably.
func (a Asides) AddFiles(names ...string) error {
	for _, name := range names {
		moved, err := a.Add(name)
		if err == nil && moved {
			err = a.in.Sync()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Sweep deletes what is set aside, as far as it can be deleted, and returns what
// is left.
func (a Asides) Sweep(ctx context.Context) ([]source.Leftover, error) {
	names, err := a.names()
	if err != nil || len(names) == 0 {
		return nil, err
	}
	var left []source.Leftover
	err = polite.Do(ctx, func() error {
		for _, name := range names {
			l, err := fsx.DeleteTree(ctx, a.in, name)
			if err != nil {
				return err
			}
			if l != nil {
				left = append(left, source.Leftover(*l))
			}
		}
		return nil
	})
	return left, err
}

// FreeName returns the first of the names prefix-1, prefix-2, … that nothing has.
func FreeName(in *fsx.Dir, prefix string) (string, error) {
	for n := 1; ; n++ {
		name := prefix + "-" + strconv.Itoa(n)
		if taken, err := in.Exists(name); err != nil || !taken {
			return name, err
		}
	}
}

package directory

import (
	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/source/internal/tree"
)

// maxExtents bounds the list of a file's extents. What comes after so many is
// read as one, holes and all.
const maxExtents = 64 << 10

// takeExtent sets the node's size, and where it has data if it has holes. It gives
// what is to be read.
func takeExtent(n *tree.Node, fd int, st *unix.Stat_t) ([]tree.Extent, error) {
	n.Size, n.Sparse, n.Data = st.Size, sparseBytes(st), nil
	if n.Size == 0 {
		return nil, nil
	}
	if n.Sparse == 0 {
		return []tree.Extent{{Offset: 0, Length: n.Size}}, nil
	}
	data, err := dataExtents(fd, n.Size)
	n.Data = data
	return data, err
}

// dataExtents finds out where a file has data. Holes that are too small to be
// made again count as data.
func dataExtents(fd int, size int64) ([]tree.Extent, error) {
	data := []tree.Extent{}
	for end := int64(0); end < size; {
		begin, err := unix.Seek(fd, end, unix.SEEK_DATA)
		switch {
		case err == unix.ENXIO: // the rest is a hole
			return data, nil
		case err == unix.EINVAL || err == unix.EOPNOTSUPP: // the file system does not tell
			return []tree.Extent{{Offset: 0, Length: size}}, nil
		case err != nil:
			return nil, err
		case begin >= size:
			return data, nil
		}
		last := len(data) - 1
		if last+1 >= maxExtents {
			data[last].Length = size - data[last].Offset
			return data, nil
		}
		if end, err = unix.Seek(fd, begin, unix.SEEK_HOLE); err != nil && err != unix.ENXIO {
			return nil, err
		}
		if err != nil || end > size {
			end = size // it grows, or was cut short: the check afterwards tells
		}
		if last >= 0 && begin-data[last].Offset-data[last].Length < holeSize {
			data[last].Length = end - data[last].Offset
		} else {
			data = append(data, tree.Extent{Offset: begin, Length: end - begin})
		}
	}
	return data, nil
}

// clipNode makes the node agree with what could be read of it, and tells whether
// that was all that was to be read.
func clipNode(n *tree.Node, wanted []tree.Extent) bool {
	left := n.Content.Size
	for i, x := range wanted {
		if x.Length <= left {
			left -= x.Length
			continue
		}
		n.Size = x.Offset + left
		if n.Sparse > 0 {
			n.Data = append([]tree.Extent{}, wanted[:i]...)
			if left > 0 {
				n.Data = append(n.Data, tree.Extent{Offset: x.Offset, Length: left})
			}
		}
		return false
	}
	return true
}

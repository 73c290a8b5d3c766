package directory

import (
	"context"
	"slices"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/meta"
	"github.com/understudy-ha/understudy/backup/source/internal/tree"
)

// Compare walks two trees at once.
//
// A folder's own modification time is not compared: it changes with every
// entry, which is listed itself.
func Compare(ctx context.Context, c *source.Comparison) (source.Difference, error) {
	var files source.FileDifference
	trees := tree.Merge(tree.Of(ctx, c.Counted(c.A), c.A.Entry.Root), tree.Of(ctx, c.Counted(c.B), c.B.Entry.Root))
	for pair, err := range trees {
		if err == nil {
			err = compareNodes(ctx, c, &files, pair.A, pair.B)
		}
		if err != nil {
			return source.Difference{}, err
		}
	}
	return source.Difference{Same: files == source.FileDifference{}, Files: &files}, nil
}

// compareNodes compares what the two have at one path.
func compareNodes(ctx context.Context, c *source.Comparison, files *source.FileDifference, a, b *tree.Node) error {
	switch {
	case b == nil:
		files.Removed.Add(a.Size)
		return c.Found(source.Change{Change: source.Removed, Path: a.Path, Type: typeName(a.Type), SizeA: a.Size})
	case a == nil:
		files.Added.Add(b.Size)
		return c.Found(source.Change{Change: source.Added, Path: b.Path, Type: typeName(b.Type), SizeB: b.Size})
	}
	what, err := whatChanged(ctx, c, a, b)
	if err != nil || len(what) == 0 {
		return err
	}
	files.Changed.Add(b.Size)
	return c.Found(source.Change{
		Change: source.Changed, Path: b.Path, Type: typeName(b.Type), What: what, SizeA: a.Size, SizeB: b.Size,
	})
}

func whatChanged(ctx context.Context, c *source.Comparison, a, b *tree.Node) ([]string, error) {
	if a.Type != b.Type {
		return []string{"type"}, nil
	}
	var what []string
	add := func(when bool, word string) {
		if when {
			what = append(what, word)
		}
	}
	content, err := contentChanged(ctx, c, a, b)
	if err != nil {
		return nil, err
	}
	add(content, "content")
	add(a.Size != b.Size, "size")
	add(a.Mode != b.Mode, "mode")
	// Ids are a host's own: who has a name is known by that.
	add(a.User != b.User || a.Group != b.Group || a.User == "" && a.UID != b.UID || a.Group == "" && a.GID != b.GID, "owner")
	add(a.Type != tree.Directory && !a.ModTime.Equal(b.ModTime), "mtime")
	add(!meta.SameXattrs(a.Xattrs, b.Xattrs), "xattrs")
	add(a.Target != b.Target, "target")
	add(a.Device != b.Device, "device")
	return what, nil
}

func contentChanged(ctx context.Context, c *source.Comparison, a, b *tree.Node) (bool, error) {
	switch {
	case a.Type != tree.RegularFile:
		return false, nil
	case a.Size != b.Size || !slices.Equal(a.Data, b.Data):
		return true, nil
	case c.Opt.SameKeys && sameContent(a, b):
		return false, nil
	}
	// The same content may be in other chunks: what was added to a file is one of its own.
	first, err := c.FirstDifference(ctx, a.Content, b.Content)
	return first >= 0, err
}

// typeName names a type for people.
func typeName(t tree.NodeType) string {
	switch t {
	case tree.RegularFile:
		return "file"
	case tree.Directory:
		return "folder"
	case tree.Symlink:
		return "symlink"
	case tree.HardLink:
		return "hard link"
	case tree.Fifo:
		return "fifo"
	case tree.CharDevice, tree.BlockDevice:
		return "device"
	}
	return "unknown"
}

package source

import (
	"context"
	"slices"
)

// compareDirectories walks two trees at once.
//
// A folder's own modification time is not compared: it changes with every
// entry, which is listed itself.
func compareDirectories(ctx context.Context, c *comparison) (Difference, error) {
	var files FileDifference
	trees := mergeTrees(tree(ctx, countedChunks{c, c.a}, c.a.Entry.Root), tree(ctx, countedChunks{c, c.b}, c.b.Entry.Root))
	for pair, err := range trees {
		if err == nil {
			err = compareNodes(ctx, c, &files, pair.a, pair.b)
		}
		if err != nil {
			return Difference{}, err
		}
	}
	return Difference{Same: files == FileDifference{}, Files: &files}, nil
}

// compareNodes compares what the two have at one path.
func compareNodes(ctx context.Context, c *comparison, files *FileDifference, a, b *Node) error {
	switch {
	case b == nil:
		files.Removed.add(a.Size)
		return c.found(Change{Change: Removed, Path: a.Path, Type: typeName(a.Type), SizeA: a.Size})
	case a == nil:
		files.Added.add(b.Size)
		return c.found(Change{Change: Added, Path: b.Path, Type: typeName(b.Type), SizeB: b.Size})
	}
	what, err := whatChanged(ctx, c, a, b)
	if err != nil || len(what) == 0 {
		return err
	}
	files.Changed.add(b.Size)
	return c.found(Change{
		Change: Changed, Path: b.Path, Type: typeName(b.Type), What: what, SizeA: a.Size, SizeB: b.Size,
	})
}

func whatChanged(ctx context.Context, c *comparison, a, b *Node) ([]string, error) {
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
	add(a.Type != Folder && !a.ModTime.Equal(b.ModTime), "mtime")
	add(!sameXattrs(a.Xattrs, b.Xattrs), "xattrs")
	add(a.Target != b.Target, "target")
	add(a.Device != b.Device, "device")
	return what, nil
}

func contentChanged(ctx context.Context, c *comparison, a, b *Node) (bool, error) {
	switch {
	case a.Type != RegularFile:
		return false, nil
	case c.opt.SameKeys || a.Size != b.Size || !slices.Equal(a.Data, b.Data):
		return !sameContent(a, b), nil
	}
	first, err := c.firstDifference(ctx, a.Content, b.Content)
	return first >= 0, err
}

// typeName names a type for people.
func typeName(t NodeType) string {
	switch t {
	case RegularFile:
		return "file"
	case Folder:
		return "folder"
	case Symlink:
		return "symlink"
	case HardLink:
		return "hard link"
	case Fifo:
		return "fifo"
	case CharDevice, BlockDevice:
		return "device"
	}
	return "unknown"
}

package source

import (
	"bytes"
	"context"
	"iter"
	"slices"
)

// compareDirectories walks two trees at once.
//
// A folder's own modification time is not compared: it changes with every
// entry, which is listed itself.
func compareDirectories(ctx context.Context, c *comparison) (Difference, error) {
	nextA, stopA := iter.Pull2(tree(ctx, countedChunks{c, c.a}, c.a.Entry))
	defer stopA()
	nextB, stopB := iter.Pull2(tree(ctx, countedChunks{c, c.b}, c.b.Entry))
	defer stopB()
	var files FileDifference
	a, errA, moreA := nextA()
	b, errB, moreB := nextB()
	for moreA || moreB {
		for _, err := range []error{errA, errB} {
			if err != nil {
				return Difference{}, err
			}
		}
		var order int
		switch {
		case !moreB:
			order = -1
		case !moreA:
			order = 1
		default:
			order = comparePaths(a.Path, b.Path)
		}
		if err := c.compareNodes(ctx, &files, order, a, b); err != nil {
			return Difference{}, err
		}
		if order <= 0 {
			a, errA, moreA = nextA()
		}
		if order >= 0 {
			b, errB, moreB = nextB()
		}
	}
	return Difference{Same: files == FileDifference{}, Files: &files}, nil
}

// compareNodes compares what is next: only in A where order is negative, only
// in B where it is positive.
func (c *comparison) compareNodes(ctx context.Context, files *FileDifference, order int, a, b *Node) error {
	switch {
	case order < 0:
		files.Removed.add(a.Content.Size)
		return c.found(Change{Change: Removed, Path: a.Path, Type: typeName(a.Type), SizeA: a.Content.Size})
	case order > 0:
		files.Added.add(b.Content.Size)
		return c.found(Change{Change: Added, Path: b.Path, Type: typeName(b.Type), SizeB: b.Content.Size})
	}
	what, err := c.whatChanged(ctx, a, b)
	if err != nil || len(what) == 0 {
		return err
	}
	files.Changed.add(b.Content.Size)
	return c.found(Change{
		Change: Changed, Path: b.Path, Type: typeName(b.Type), What: what, SizeA: a.Content.Size, SizeB: b.Content.Size,
	})
}

func (c *comparison) whatChanged(ctx context.Context, a, b *Node) ([]string, error) {
	if a.Type != b.Type {
		return []string{"type"}, nil
	}
	var what []string
	add := func(when bool, word string) {
		if when {
			what = append(what, word)
		}
	}
	content, err := c.contentChanged(ctx, a, b)
	if err != nil {
		return nil, err
	}
	add(content, "content")
	add(a.Content.Size != b.Content.Size, "size")
	add(a.Mode != b.Mode, "mode")
	// Ids are a host's own: who has a name is known by that.
	add(a.User != b.User || a.Group != b.Group || a.User == "" && a.UID != b.UID || a.Group == "" && a.GID != b.GID, "owner")
	add(a.Type != Folder && !a.ModTime.Equal(b.ModTime), "mtime")
	add(!slices.EqualFunc(a.Xattrs, b.Xattrs, func(x, y Xattr) bool { return x.Name == y.Name && bytes.Equal(x.Value, y.Value) }), "xattrs")
	add(a.Target != b.Target, "target")
	add(a.Device != b.Device, "device")
	return what, nil
}

func (c *comparison) contentChanged(ctx context.Context, a, b *Node) (bool, error) {
	switch {
	case a.Type != RegularFile:
		return false, nil
	case c.opt.SameKeys || a.Content.Size != b.Content.Size:
		return !sameStream(a.Content, b.Content), nil
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

package source

import "context"

// compareCommands compares two outputs byte for byte.
func compareCommands(ctx context.Context, c *comparison) (Difference, error) {
	a, b := c.a.Entry.Root, c.b.Entry.Root
	first, err := c.firstDifference(ctx, a, b)
	if err != nil || first < 0 {
		return Difference{Same: first < 0}, err
	}
	return Difference{Bytes: &ByteDifference{SizeA: a.Size, SizeB: b.Size, First: first}}, nil
}

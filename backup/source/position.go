package source

import "context"

// Positioner is a source that can tell at little cost how far it has come.
type Positioner interface {
	// Position tells where the source is now, in the terms of its kind: a
	// database's position in the write-ahead log, a fingerprint of a file.
	Position(ctx context.Context) (string, error)
}

// Since says what a dumped source lacks of the state that it has reached since
// on the host that dumped it, in words; "" when it lacks nothing, or what it
// lacks cannot be told from a position.
func Since(e Entry, position string) string {
	if position == "" {
		return ""
	}
	if since := kinds[e.Kind].Since; since != nil {
		return since(e, position)
	}
	return ""
}

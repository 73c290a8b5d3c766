package source

import (
	"testing"
)

// lacks gives what an entry lacks of the state that its source is in now.
func lacks(t *testing.T, s Source, e Entry) string {
	t.Helper()
	at, err := s.(Positioner).Position(t.Context())
	must(t, err)
	return Since(e, at)
}

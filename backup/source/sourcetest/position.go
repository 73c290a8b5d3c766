package sourcetest

import (
	"testing"

	"github.com/understudy-ha/understudy/backup/source"
)

// Lacks gives what an entry lacks of the state that its source is in now.
func Lacks(t *testing.T, s source.Source, e source.Entry) string {
	t.Helper()
	at, err := s.(source.Positioner).Position(t.Context())
	Must(t, err)
	return source.Since(e, at)
}

package source

import (
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/fsx"
)

// What nobody has registered is an error, not nothing.
func TestAnUnknownKindIsAnError(t *testing.T) {
	e := Entry{Kind: "unheard-of", Name: "it"}
	if err := ExportTo(t.Context(), nil, e, fsx.Place{}); err == nil || !strings.Contains(err.Error(), `unknown kind of source "unheard-of"`) {
		t.Errorf("export: %v", err)
	}
	if _, err := Compare(t.Context(), Side{Entry: e}, Side{Entry: e}, CompareOptions{}); err == nil {
		t.Error("it was compared")
	}
}

func TestAKindIsRegisteredOnce(t *testing.T) {
	Register(Kind{Name: "once"})
	defer delete(kinds, "once")
	defer func() {
		if recover() == nil {
			t.Error("it was registered twice")
		}
	}()
	Register(Kind{Name: "once"})
}

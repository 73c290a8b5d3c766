package source

import (
	"testing"
)

func TestOutputThatBecameEmptyIsTold(t *testing.T) {
	was, is := Entry{Kind: "command", Size: 10}, Entry{Kind: "command"}
	if Lost(was, is) == "" || Lost(is, was) != "" || Lost(was, was) != "" {
		t.Errorf("%q, %q", Lost(was, is), Lost(is, was))
	}
	if text := Lost(Entry{}, is); text != "" {
		t.Errorf("a first backup: %q", text)
	}
}

package command

import (
	"testing"

	"github.com/understudy-ha/understudy/backup/source"
)

func TestOutputThatBecameEmptyIsTold(t *testing.T) {
	was, is := source.Entry{Kind: "command", Size: 10}, source.Entry{Kind: "command"}
	if source.Lost(was, is) == "" || source.Lost(is, was) != "" || source.Lost(was, was) != "" {
		t.Errorf("%q, %q", source.Lost(was, is), source.Lost(is, was))
	}
	if text := source.Lost(source.Entry{}, is); text != "" {
		t.Errorf("a first backup: %q", text)
	}
}

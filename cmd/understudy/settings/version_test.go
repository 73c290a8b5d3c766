package settings

import (
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/ha/application"
)

func TestVersionIsTheFirstLineOfACommand(t *testing.T) {
	read := func(v Version) (string, error) { return v.Read(nil)(t.Context()) }
	if v, err := read(Version{Literal: "1.10"}); v != "1.10" || err != nil {
		t.Errorf("literal: %q, %v", v, err)
	}
	command := func(script string, timeout time.Duration) Version {
		return Version{Command: application.Hook{Command: []string{"/bin/sh", "-c", script}, Timeout: timeout}}
	}
	if v, err := read(command("echo ' 2.1 '; echo more", time.Minute)); v != "2.1" || err != nil {
		t.Errorf("command: %q, %v", v, err)
	}
	if _, err := read(command("echo oops >&2; exit 3", time.Minute)); err == nil || !strings.Contains(err.Error(), "oops") {
		t.Errorf("failing command: %v", err)
	}
	if _, err := read(command("exec sleep 60", 50*time.Millisecond)); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("slow command: %v", err)
	}
	if (Version{}).Read(nil) != nil {
		t.Error("no version is read somehow")
	}
}

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTheDropInFitsTheUnit: it changes sections that the unit has.
func TestTheDropInFitsTheUnit(t *testing.T) {
	dropIn, err := os.ReadFile(filepath.Join("packaging", "unprivileged.conf"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"[Service]", "User=understudy", "CapabilityBoundingSet=\n"} {
		if !strings.Contains(string(dropIn), line) {
			t.Errorf("it lacks %q", line)
		}
	}
	page, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	unit, err := os.ReadFile(filepath.Join("packaging", "understudy.service"))
	if err != nil {
		t.Fatal(err)
	}
	// What is not as strict as it could be is explained.
	for capability := range strings.FieldsSeq(string(unit)) {
		capability = strings.TrimPrefix(capability, "CapabilityBoundingSet=")
		if strings.HasPrefix(capability, "CAP_") && !strings.Contains(string(page), "`"+capability+"`") {
			t.Errorf("docs/security.md does not say what %s is for", capability)
		}
	}
}

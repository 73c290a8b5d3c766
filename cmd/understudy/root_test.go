package main

import (
	"os"
	"strings"
	"testing"
)

// TestACommandLiesInTheFileOfItsName keeps each command where a reader looks for it.
func TestACommandLiesInTheFileOfItsName(t *testing.T) {
	for _, cmd := range newRoot(&app{}).Commands() {
		file := "cmd_" + strings.ReplaceAll(cmd.Name(), "-", "_") + ".go"
		text, err := os.ReadFile(file)
		if err != nil {
			t.Errorf("understudy %s: %v", cmd.Name(), err)
			continue
		}
		if !strings.Contains(string(text), cmd.Use) && !strings.Contains(string(text), cmd.Short) {
			t.Errorf("%s does not define understudy %s", file, cmd.Name())
		}
	}
}

package systemd

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// systemctlTimeout bounds a question to systemd.
const systemctlTimeout = 10 * time.Second

// UnitsStarted gives the systemd units that a command starts: none when it is
// no systemctl start.
func UnitsStarted(command []string) []string {
	command = slices.DeleteFunc(slices.Clone(command), func(word string) bool { return strings.HasPrefix(word, "-") })
	if len(command) > 0 && filepath.Base(command[0]) == "sudo" {
		command = command[1:]
	}
	if len(command) < 3 || filepath.Base(command[0]) != "systemctl" || command[1] != "start" && command[1] != "restart" {
		return nil
	}
	return command[2:]
}

// UnitState is what systemctl is-enabled says; "" when it says nothing.
func UnitState(ctx context.Context, unit string) string {
	ctx, cancel := context.WithTimeout(ctx, systemctlTimeout)
	defer cancel()
	// Its exit code repeats what it prints.
	out, _ := exec.CommandContext(ctx, "systemctl", "is-enabled", "--", unit).Output()
	return string(bytes.TrimSpace(out))
}

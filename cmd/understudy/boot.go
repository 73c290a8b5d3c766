package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/ha/application"
)

// systemctlTimeout bounds a question to systemd.
const systemctlTimeout = 10 * time.Second

// bootChecks finds out whether the application would start at boot by itself,
// as far as the promote hook tells which unit it is. An application that does
// runs beside its successor after the old host comes back.
func bootChecks(ctx context.Context, h application.Hooks) []finding {
	var found []finding
	for _, unit := range unitsStarted(h.Promote.Command) {
		f := finding{Name: "boot", Result: good, Detail: unit + " does not start at boot by itself"}
		switch state := unitState(ctx, unit); state {
		case "enabled", "enabled-runtime", "linked", "linked-runtime", "alias":
			f.Result = bad
			f.Detail = fmt.Sprintf("%s is %s: it would start at boot by itself, beside its successor; only the promote hook may start it: systemctl disable %s", unit, state, unit)
		case "":
			f.Result, f.Detail = warning, fmt.Sprintf("systemd does not tell whether %s starts at boot by itself", unit)
		}
		found = append(found, f)
	}
	return found
}

// unitsStarted gives the systemd units that a command starts: none when it is
// no systemctl start.
func unitsStarted(command []string) []string {
	command = slices.DeleteFunc(slices.Clone(command), func(word string) bool { return strings.HasPrefix(word, "-") })
	if len(command) > 0 && filepath.Base(command[0]) == "sudo" {
		command = command[1:]
	}
	if len(command) < 3 || filepath.Base(command[0]) != "systemctl" || command[1] != "start" && command[1] != "restart" {
		return nil
	}
	return command[2:]
}

// unitState is what systemctl is-enabled says; "" when it says nothing.
func unitState(ctx context.Context, unit string) string {
	ctx, cancel := context.WithTimeout(ctx, systemctlTimeout)
	defer cancel()
	// Its exit code repeats what it prints.
	out, _ := exec.CommandContext(ctx, "systemctl", "is-enabled", "--", unit).Output()
	return string(bytes.TrimSpace(out))
}

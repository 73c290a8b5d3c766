package doctor

import (
	"context"
	"fmt"
	"os"
	"os/exec"

	"github.com/understudy-ha/understudy/backup/environ"
	"github.com/understudy-ha/understudy/cmd/understudy/settings"
	"github.com/understudy-ha/understudy/cmd/understudy/systemd"
	"github.com/understudy-ha/understudy/ha/application"
	"github.com/understudy-ha/understudy/ha/federation"
)

func examineVersion(ctx context.Context, v settings.Version) []Finding {
	read := v.Read(environ.WithoutSecrets(os.Environ()))
	if read == nil {
		return []Finding{{Name: "version", Result: Warning, Detail: "application.version is not set: a backup of another version of the application would be restored without a question"}}
	}
	text, err := read(ctx)
	return []Finding{is("version", err, text)}
}

// examineFederation looks whether this host's Prometheus can be told whose to
// federate. Neither backups nor promotions need that.
func examineFederation(f federation.Config) []Finding {
	if f.TargetsFile == "" {
		return nil
	}
	found := is("federation", f.Check(), f.TargetsFile)
	if found.Result == Bad {
		found.Result = Warning
	}
	return []Finding{found}
}

// examineHooks looks whether the hooks can be run.
func examineHooks(h application.Hooks) []Finding {
	var found []Finding
	for _, hook := range []struct {
		name    string
		command []string
		without string
	}{
		{"promote", h.Promote.Command, "nothing starts the application at a promotion, unless understudy exec runs it"},
		{"demote", h.Demote.Command, "nothing but people can stop the application when another host takes over, unless understudy exec runs it: a switchover from here needs somebody's word that it is stopped, after a failover it may run beside the new one, and strict fencing is refused"},
		{"pre_backup", h.PreBackup.Command, ""},
		{"post_backup", h.PostBackup.Command, ""},
		{"probe", h.Probe.Command, ""},
	} {
		name := "hook " + hook.name
		switch {
		case len(hook.command) > 0:
			path, err := exec.LookPath(hook.command[0])
			found = append(found, is(name, err, path))
		case hook.without != "":
			found = append(found, Finding{Name: name, Result: Warning, Detail: "not set: " + hook.without})
		}
	}
	return found
}

// Boot finds out whether the application would start at boot by itself,
// as far as the promote hook tells which unit it is. An application that does
// runs beside its successor after the old host comes back.
func Boot(ctx context.Context, h application.Hooks) []Finding {
	var found []Finding
	for _, unit := range systemd.UnitsStarted(h.Promote.Command) {
		f := Finding{Name: "boot", Result: Good, Detail: unit + " does not start at boot by itself"}
		switch state := systemd.UnitState(ctx, unit); state {
		case "enabled", "enabled-runtime", "linked", "linked-runtime", "alias":
			f.Result = Bad
			f.Detail = fmt.Sprintf("%s is %s: it would start at boot by itself, beside its successor; only the promote hook may start it: systemctl disable %s", unit, state, unit)
		case "":
			f.Result, f.Detail = Warning, fmt.Sprintf("systemd does not tell whether %s starts at boot by itself", unit)
		}
		found = append(found, f)
	}
	return found
}

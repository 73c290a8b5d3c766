package discover

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strings"
)

// Unit is a service of systemd's.
type Unit struct {
	Name string
	// AtBoot says that it starts at boot by itself.
	AtBoot bool

	folders []string
	own     bool // it was made on this host, and is no part of the system
}

// unit asks systemd about a unit.
func (f *Finder) unit(ctx context.Context, name string) (Unit, error) {
	if !strings.Contains(name, ".") {
		name += ".service"
	}
	out, err := f.Run(ctx, "", "systemctl", "show", "--no-pager",
		"--property=Id,LoadState,UnitFileState,FragmentPath,StateDirectory,WorkingDirectory", "--", name)
	if err != nil {
		return Unit{}, fmt.Errorf("ask systemd about %s: %w", name, err)
	}
	said := map[string]string{}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), "=")
		said[key] = value
	}
	if said["LoadState"] != "loaded" {
		return Unit{}, fmt.Errorf("systemd knows no unit %s", name)
	}
	u := Unit{Name: name, own: strings.HasPrefix(said["FragmentPath"], "/etc/systemd/system/")}
	switch said["UnitFileState"] {
	case "enabled", "enabled-runtime", "linked", "linked-runtime", "alias":
		u.AtBoot = true
	}
	for dir := range strings.FieldsSeq(said["StateDirectory"]) {
		u.folders = append(u.folders, filepath.Join("/var/lib", dir))
	}
	if dir := strings.TrimPrefix(said["WorkingDirectory"], "!"); filepath.IsAbs(dir) {
		u.folders = append(u.folders, dir)
	}
	return u, nil
}

// systems are services whose state is not an application's, or is found otherwise.
var systems = []string{"understudy", "postgresql", "systemd-", "dbus", "ssh", "cron", "getty", "user@", "prometheus", "docker", "containerd"}

// services are the services that run here, were made on this host, and have a folder.
func (f *Finder) services(ctx context.Context, found *Found) (names []string) {
	out, err := f.Run(ctx, "", "systemctl", "list-units", "--type=service", "--state=running", "--plain", "--no-legend", "--no-pager")
	if err != nil {
		found.Notes = append(found.Notes, fmt.Sprintf("Which services run here could not be found out: %v.", err))
		return nil
	}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		name, _, _ := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		if name == "" || ofSystem(name) {
			continue
		}
		if u, err := f.unit(ctx, name); err == nil && u.own && len(u.folders) > 0 {
			names = append(names, name)
		}
	}
	return names
}

func ofSystem(name string) bool {
	for _, s := range systems {
		if strings.HasPrefix(name, s) {
			return true
		}
	}
	return false
}

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/e2e/server"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/report"
)

const composeFile = "../docker-compose.yml"

// composed is the cluster of the compose file, on an engine of the test's own.
type composed struct {
	*server.DockerEngine

	commands [][]string // what the comment at the head of the file has people type
	http     *http.Client
}

// TestCompose brings the shipped compose file up unchanged, and has it do what the
// comment at its head says.
func TestCompose(t *testing.T) {
	t.Parallel()
	c := newComposed(t)
	c.next(t, "docker compose up")
	a, b := c.service("host-a"), c.service("host-b")
	first := a.newest(t)
	// An application that never ran has its state before it is backed up.
	if log := c.Compose(t, "logs", "host-a"); strings.Contains(log, "level=ERROR") {
		t.Errorf("a fresh cluster begins with an error:\n%s", log)
	}
	for _, standby := range []service{b, c.service("host-c")} {
		standby.caches(t, first.ID)
	}
	if said := c.next(t, "docker compose exec host-b understudy status"); !strings.Contains(said, "a switchover would lose nothing") {
		t.Errorf("host-b says:\n%s", said)
	}
	c.next(t, "docker compose exec host-b understudy promote")
	c.serves(t, "8082")
	if answer, err := c.http.Get("http://127.0.0.1:8081/count"); err == nil {
		answer.Body.Close()
		t.Error("the application still answers on host-a")
	}
	partition, profiles := c.commands[:4], c.commands[4:]
	c.commands = profiles // before the cut: Compose would mend it
	c.next(t, "docker compose --profile monitoring --profile postgres up")
	profiles = c.commands
	t.Run("partition", func(t *testing.T) {
		t.Parallel()
		c := composed{c.DockerEngine, partition, c.http}
		c.partition(t)
	})
	t.Run("profiles", func(t *testing.T) {
		t.Parallel()
		c := composed{c.DockerEngine, profiles, c.http}
		c.profiles(t)
	})
	t.Run("init", func(t *testing.T) {
		t.Parallel()
		orphansAreReaped(t, c.DockerEngine)
	})
}

func newComposed(t *testing.T) *composed {
	t.Helper()
	text, err := os.ReadFile(composeFile)
	if err != nil {
		t.Fatal(err)
	}
	c := &composed{DockerEngine: server.Docker(t)}
	for _, m := range regexp.MustCompile(`(?m)^#   (docker .*)$`).FindAllStringSubmatch(string(text), -1) {
		c.commands = append(c.commands, strings.Fields(m[1]))
	}
	transport := &http.Transport{DialContext: c.Dial, DisableKeepAlives: true}
	c.http = &http.Client{Transport: transport}
	makeImages(t, c.DockerEngine)
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := c.TryCompose(context.Background(), "--profile", "*", "logs", "--no-color", "--tail", "40")
			t.Log(log)
		}
	})
	return c
}

// next runs the next of the file's commands, which begins as the test expects.
func (c *composed) next(t *testing.T, begins string) string {
	t.Helper()
	words := c.commands[0]
	c.commands = c.commands[1:]
	if line := strings.Join(words, " "); !strings.HasPrefix(line, begins) {
		t.Fatalf("the file says %q where the test expects %q", line, begins)
	}
	if words[1] != "compose" {
		return c.Docker(t, words[1:]...)
	}
	words = slices.Clone(words[2:])
	if i := slices.Index(words, "--build"); i >= 0 {
		words[i] = "--no-build" // from images that are there
	}
	if words[0] == "exec" {
		words = slices.Insert(words, 1, "-T")
	}
	return c.Compose(t, words...)
}

// serves waits until the application's page answers at a port, and returns how many
// rows it has.
func (c *composed) serves(t *testing.T, port string) (rows int64) {
	t.Helper()
	eventually(t, "the application at "+port, func() error {
		var count struct{ Rows int64 }
		if err := c.get("http://127.0.0.1:"+port+"/count", &count); err != nil {
			return err
		}
		if rows = count.Rows; rows == 0 {
			return errors.New("no rows")
		}
		return nil
	})
	return rows
}

func (c *composed) get(url string, answer any) error {
	resp, err := c.http.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return errors.Join(fmt.Errorf("%s: %s: %s", url, resp.Status, body), err)
	}
	return json.Unmarshal(body, answer)
}

// partition cuts the active off, fails over, joins it again, and finds what it had alone.
func (c *composed) partition(t *testing.T) {
	b, successor := c.service("host-b"), c.service("host-c")
	eventually(t, "host-b's first backup as the active is cached", func() error {
		made, err := b.status(t)
		if err != nil {
			return err
		}
		has, err := successor.status(t)
		if err != nil {
			return err
		}
		if newest := made.LastBackup; newest == nil || newest.Epoch != 2 || has.Staged != newest.ID {
			return fmt.Errorf("host-b has made %v, host-c has staged %q", newest, has.Staged)
		}
		return nil
	})
	before := c.serves(t, "8082")
	c.next(t, "docker network disconnect")
	if said := c.next(t, "docker compose exec host-c understudy promote --failover"); !strings.Contains(said, "Lost: what came after backup") {
		t.Errorf("the failover says:\n%s", said)
	}
	c.serves(t, "8083")
	var alone struct{ Rows int64 }
	if err := json.Unmarshal([]byte(b.run(t, "wget", "-q", "-O", "-", "http://127.0.0.1:8080/count")), &alone); err != nil {
		t.Fatal(err)
	}
	c.next(t, "docker network connect")
	var salvage string
	eventually(t, "the salvage is found", func() error {
		for _, found := range successor.backups(t) {
			if found.Trigger == backup.Salvage {
				salvage = found.ID
				return nil
			}
		}
		return errors.New("none")
	})
	if said := c.next(t, "docker compose exec host-c understudy backups"); !strings.Contains(said, "state of host-b when epoch 2 ended") {
		t.Errorf("the list says:\n%s", said)
	}
	successor.run(t, "understudy", "restore", salvage, "--to", "/tmp/salvage")
	dir := filepath.Join(t.TempDir(), "salvage")
	c.Docker(t, "cp", "understudy-host-c-1:/tmp/salvage", dir)
	rows := readRows(t, "sqlite", "file:"+dir+"/entries")
	if alone.Rows <= before || int64(len(rows)) < alone.Rows {
		t.Errorf("the salvage has %d rows; host-b had written %d by the cut, and %d by its end", len(rows), before, alone.Rows)
	}
	eventually(t, "host-b is a standby", func() error {
		s, err := b.status(t)
		if err == nil && s.State != "in sync" {
			err = fmt.Errorf("state %q, problems %q", s.State, s.Problems)
		}
		return err
	})
	for _, host := range []string{"host-a", "host-b", "host-c"} {
		if z := zombies(t, c.DockerEngine, "understudy-"+host+"-1"); z != "" {
			t.Errorf("%s has zombies: %s", host, z)
		}
	}
}

// profiles brings up Prometheus and the pair of hosts with PostgreSQL.
func (c *composed) profiles(t *testing.T) {
	a, b := c.service("pg-a"), c.service("pg-b")
	first := a.newest(t)
	b.caches(t, first.ID)
	if log := c.Compose(t, "logs", "pg-a", "pg-b"); strings.Contains(log, "level=ERROR") {
		t.Errorf("a fresh pair begins with an error:\n%s", log)
	}
	before := c.serves(t, "8084")
	c.next(t, "docker compose exec pg-b understudy promote")
	if after := c.serves(t, "8085"); after < before {
		t.Errorf("%d rows after the promotion, %d before it", after, before)
	}
	c.monitored(t)
}

// monitored: Prometheus has every rule that is shipped, and asks every host.
func (c *composed) monitored(t *testing.T) {
	text, err := os.ReadFile(packagingDir + "prometheus/understudy.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, Health string }
			}
		}
	}
	var targets struct {
		Data struct {
			ActiveTargets []struct{ ScrapeURL, Health, LastError string }
		}
	}
	eventually(t, "Prometheus evaluates the rules and asks the hosts", func() error {
		err := errors.Join(c.get("http://127.0.0.1:9090/api/v1/rules", &rules), c.get("http://127.0.0.1:9090/api/v1/targets", &targets))
		if err != nil {
			return err
		}
		loaded := 0
		for _, g := range rules.Data.Groups {
			for _, r := range g.Rules {
				if r.Health == "ok" {
					loaded++
				}
			}
		}
		if want := strings.Count(string(text), "- alert:"); loaded != want {
			return fmt.Errorf("%d rules are well, want %d", loaded, want)
		}
		up := 0
		for _, target := range targets.Data.ActiveTargets {
			if target.Health == "up" {
				up++
			}
		}
		if up < 2 || len(targets.Data.ActiveTargets) != 3 { // a host may be cut off
			return fmt.Errorf("targets: %+v", targets.Data.ActiveTargets)
		}
		return nil
	})
}

// orphansAreReaped: the image needs no engine that is told to give it an init.
func orphansAreReaped(t *testing.T, d *server.DockerEngine) {
	for _, c := range []struct {
		name string
		run  []string
		keep bool // the orphan, as a zombie
	}{
		{"shipped", []string{"understudy-sample:dev"}, false},
		{"control", []string{"--entrypoint=sleep", "understudy-sample:dev", "600"}, true}, // the check can fail
	} {
		name := "orphans-" + c.name
		d.Docker(t, append([]string{"run", "--detach", "--network=none", "--name=" + name}, c.run...)...)
		d.Docker(t, "exec", name, "sh", "-c", "sleep 0.1 >/dev/null 2>&1 &")
		eventually(t, name, func() error {
			left := d.Docker(t, "exec", name, "sh", "-c", "grep -l '^Name:.sleep' /proc/[0-9]*/status | grep -v /1/ || :")
			if z := zombies(t, d, name); (z != "") != c.keep || left != "" != c.keep {
				return fmt.Errorf("orphans %q, zombies %q", left, z)
			}
			return nil
		})
		if c.keep {
			continue
		}
		d.Docker(t, "stop", "--time=60", name)
		if code := strings.TrimSpace(d.Docker(t, "inspect", "--format={{.State.ExitCode}}", name)); code != "0" {
			t.Errorf("asked to stop, the agent exits with %s:\n%s", code, d.Docker(t, "logs", name))
		}
	}
}

// zombies names the processes of a container that have ended, and that nobody reaps.
func zombies(t *testing.T, d *server.DockerEngine, container string) string {
	t.Helper()
	return strings.TrimSpace(d.Docker(t, "exec", container, "sh", "-c", "grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null || :"))
}

// service is a container of the file.
type service struct {
	c    *composed
	name string
}

func (c *composed) service(name string) service { return service{c, name} }

func (s service) run(t *testing.T, command ...string) string {
	t.Helper()
	return s.c.Compose(t, append([]string{"exec", "-T", s.name}, command...)...)
}

// status is an error while the agent does not answer yet.
func (s service) status(t *testing.T) (status report.Status, err error) {
	t.Helper()
	out, err := s.c.TryCompose(t.Context(), "exec", "-T", s.name, "understudy", "status", "--json")
	if err == nil {
		status = decoded[report.Status](t, out)
	}
	return status, err
}

// newest waits for a backup.
func (s service) newest(t *testing.T) (newest *backup.Ref) {
	t.Helper()
	eventually(t, s.name+" has a backup", func() error {
		status, err := s.status(t)
		if newest = status.LastBackup; err == nil && newest == nil {
			err = errors.New("none")
		}
		return err
	})
	return newest
}

func (s service) backups(t *testing.T) []control.BackupInfo {
	t.Helper()
	return decoded[[]control.BackupInfo](t, s.run(t, "understudy", "backups", "--json"))
}

func (s service) caches(t *testing.T, id string) {
	t.Helper()
	eventually(t, s.name+" caches "+id, func() error {
		status, err := s.status(t)
		for _, ref := range status.Cached {
			if ref.ID == id {
				return nil
			}
		}
		return errors.Join(errors.New("not cached"), err)
	})
}

func decoded[T any](t *testing.T, text string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return v
}

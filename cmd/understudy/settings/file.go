package settings

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/understudy-ha/understudy/backup/outlet"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/application"
	"github.com/understudy-ha/understudy/ha/datadir"
	"github.com/understudy-ha/understudy/ha/federation"
	"github.com/understudy-ha/understudy/ha/shipping"
)

// File is what the YAML file says: what to back up on this host, and how to
// start and stop the application beside it.
type File struct {
	Version    Version
	Sources    []source.Source
	Hooks      application.Hooks
	Rehearsal  ha.RehearsalPolicy // how often this host rehearses as a standby
	ApplyEvery time.Duration      // how often it asks for the logs of sources then; 0: as often as they are shipped
	Prometheus federation.Config

	declared []sourceYAML // Sources, as they are written
}

// Time-outs of hooks that set none. The demote hook has none here: the
// cluster's stop time-out holds.
const (
	backupHookTimeout  = time.Minute
	promoteHookTimeout = 5 * time.Minute
	probeHookTimeout   = 5 * time.Minute
	versionTimeout     = 10 * time.Second
)

// File reads and checks the YAML file. Sources that need a place of their own for
// temporary data get one in the data folder; keep reads what is printed by what a
// source has left running. The error lists every mistake, each with its line and
// what to do.
func (h *Host) File(keep outlet.Collector) (*File, error) {
	text, err := os.ReadFile(h.Config)
	if err != nil {
		return nil, exit.Usagef("read configuration: %w; name the file with UNDERSTUDY_CONFIG or --config", err)
	}
	c, err := parse(text, h.DataDir, keep)
	if err != nil {
		return nil, exit.Usagef("configuration %s: %w", h.Config, err)
	}
	return c, nil
}

// CheckFile checks the text of a YAML file.
func (h *Host) CheckFile(text []byte) error {
	_, err := parse(text, h.DataDir, nil)
	return err
}

// DeclaresSources reports whether a file declares the same sources as another one.
func (c *File) DeclaresSources(of *File) bool { return reflect.DeepEqual(c.declared, of.declared) }

func parse(text []byte, dataDir string, keep outlet.Collector) (*File, error) {
	file, tree, read, err := parseFile(text)
	if err != nil {
		return nil, err
	}
	r := &reader{tree: tree, dataDir: dataDir, keep: keep, read: read, mistakes: read.mistakes}
	c := &File{
		declared: file.Sources,
		Version: Version{
			Literal: file.Application.Version.Literal,
			Command: r.hook("$.application.version", file.Application.Version.Hook, versionTimeout),
		},
		Sources: r.sources(file.Sources),
		Hooks: application.Hooks{
			PreBackup:  r.hook("$.hooks.pre_backup", file.Hooks.PreBackup, backupHookTimeout),
			PostBackup: r.hook("$.hooks.post_backup", file.Hooks.PostBackup, backupHookTimeout),
			Promote:    r.hook("$.hooks.promote", file.Hooks.Promote, promoteHookTimeout),
			Demote:     r.hook("$.hooks.demote", file.Hooks.Demote, 0),
			Probe:      r.hook("$.hooks.probe", file.Hooks.Probe, probeHookTimeout),
		},
		Rehearsal:  ha.RehearsalPolicy(file.Rehearsal),
		ApplyEvery: r.applyEvery(time.Duration(file.ApplyEvery)),
		Prometheus: r.federation(file.Prometheus),
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	return c, nil
}

// reader checks a parsed file and collects its mistakes.
type reader struct {
	tree     *ast.File
	dataDir  string
	keep     outlet.Collector
	read     *decoder
	mistakes []*lineError
	paths    []ownPath
}

// ownPath is a path that one source replaces when it is restored.
type ownPath struct {
	source, path string
	holds        bool
}

// mistake notes a mistake at a place, unless it may come of one that was noted before.
func (r *reader) mistake(place, format string, args ...any) {
	if r.read.follows(place) {
		return
	}
	r.mistakes = append(r.mistakes, &lineError{line: lineOf(r.tree, place), text: fmt.Sprintf(format, args...)})
}

// err joins the mistakes in the order of their lines.
func (r *reader) err() error {
	slices.SortStableFunc(r.mistakes, func(a, b *lineError) int { return cmp.Compare(a.line, b.line) })
	var errs []error
	for i, m := range r.mistakes {
		// What the file refers to several times is mistaken once.
		if !slices.ContainsFunc(r.mistakes[:i], func(b *lineError) bool { return b.line == m.line && b.text == m.text }) {
			errs = append(errs, m)
		}
	}
	return errors.Join(errs...)
}

// sourceName is what fits a file name on every system: a backup's entries are
// restored under it.
var sourceName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func (r *reader) sources(list []sourceYAML) []source.Source {
	if len(list) == 0 {
		r.mistake("$.sources", "there is nothing to back up; list at least one source, such as {name: uploads, directory: {path: /srv/app/uploads}}")
		return nil
	}
	var sources []source.Source
	seen := map[string]string{}
	for i, y := range list {
		place := fmt.Sprintf("$.sources[%d]", i)
		switch first, dup := seen[strings.ToLower(y.Name)]; {
		case y.Name == "":
			r.mistake(place, "the source has no name; add name: …")
		case !sourceName.MatchString(y.Name):
			r.mistake(place+".name", "source name %q is not fit for a file name: use up to 64 letters, digits, dots, dashes and underscores, beginning with a letter or digit", y.Name)
		case dup:
			r.mistake(place+".name", "source name %q is taken already (by %q); names differ in more than case", y.Name, first)
		}
		seen[strings.ToLower(y.Name)] = y.Name
		if s := r.source(place, y); s != nil {
			sources = append(sources, s)
		}
	}
	r.overlaps()
	source.Nest(sources)
	return sources
}

// source makes one source; nil when it has mistakes.
func (r *reader) source(place string, y sourceYAML) source.Source {
	kinds := y.kinds()
	switch names := slices.Sorted(maps.Keys(kinds)); len(names) {
	case 0:
		r.mistake(place, "source %q has no kind; give it one of %s", y.Name, strings.Join(kindNames, ", "))
		return nil
	case 1:
		return r.sourceOf(place, y.Name, names[0], kinds[names[0]])
	default:
		r.mistake(place, "source %q has several kinds (%s); make a source of each", y.Name, strings.Join(names, ", "))
		return nil
	}
}

func (r *reader) sourceOf(place, name, kind string, y kindYAML) source.Source {
	before := len(r.mistakes)
	y.check(r, place+"."+kind, name)
	if len(r.mistakes) > before || r.read.follows(place) {
		return nil
	}
	s, err := y.source(r, name)
	if err != nil {
		r.mistake(place, "%v", err)
		return nil
	}
	return s
}

// scratch is a folder for the temporary data of one source.
func (r *reader) scratch(name string) string {
	return filepath.Join(r.dataDir, datadir.ScratchFolder, name)
}

// own checks a path that a source replaces at a restore. holds says that other
// sources may lie in it.
func (r *reader) own(place, name, path string, holds bool) {
	switch {
	case path == "":
		key := place[strings.LastIndex(place, ".")+1:]
		r.mistake(place, "source %q has no %s; add %s: /absolute/path", name, key, key)
	case !filepath.IsAbs(path):
		r.mistake(place, "path %q is not absolute; write it from the root: /…", path)
	case filepath.Clean(path) == "/":
		r.mistake(place, "the root folder cannot be a source: a restore replaces it as a whole; name the application's own folders")
	case within(r.dataDir, path), within(path, r.dataDir):
		r.mistake(place, "path %s and the agent's own data folder %s lie in one another; keep them apart", path, r.dataDir)
	default:
		r.paths = append(r.paths, ownPath{source: name, path: filepath.Clean(path), holds: holds})
	}
}

// overlaps finds sources that replace the same at a restore, or one another. A
// directory leaves out what is a source of its own.
func (r *reader) overlaps() {
	for i, a := range r.paths {
		for _, b := range r.paths[:i] {
			inner, outer := a, b
			if within(b.path, a.path) {
				inner, outer = b, a
			}
			switch {
			case inner.path == outer.path:
				r.mistake("$.sources", "sources %q and %q are both %s; name it once", b.source, a.source, a.path)
			case within(inner.path, outer.path) && !outer.holds:
				r.mistake("$.sources", "source %q (%s) lies in source %q (%s), which is replaced as a whole at a restore; keep them apart", inner.source, inner.path, outer.source, outer.path)
			}
		}
	}
}

// within reports whether path is dir or lies below it.
func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// argv checks a command: the program is a name to look up, or absolute.
func (r *reader) argv(place, what string, argv []string) {
	switch {
	case len(argv) == 0:
		r.mistake(place, "%s is missing or empty; write the program and its arguments as a list: [program, argument]", what)
	case argv[0] == "":
		r.mistake(place, "%s has an empty program name", what)
	case strings.Contains(argv[0], "/") && !filepath.IsAbs(argv[0]):
		r.mistake(place, "program %q of %s is a relative path; write its name, or its path from the root", argv[0], what)
	}
}

func (r *reader) hook(place string, y hookYAML, fallback time.Duration) application.Hook {
	if len(y.Command) == 0 {
		return application.Hook{}
	}
	r.argv(place, place[strings.LastIndex(place, ".")+1:], y.Command)
	h := application.Hook{Command: y.Command, Timeout: time.Duration(y.Timeout)}
	if h.Timeout == 0 {
		h.Timeout = fallback
	}
	return h
}

// applyEvery checks how often the logs of sources are asked for.
func (r *reader) applyEvery(every time.Duration) time.Duration {
	if every != 0 && every < shipping.Every {
		r.mistake("$.apply_every", "apply_every %v is less than %v: logs are shipped no more often", every, shipping.Every)
	}
	return every
}

func (r *reader) federation(y *prometheusYAML) federation.Config {
	if y == nil {
		return federation.Config{}
	}
	switch ext := filepath.Ext(y.TargetsFile); {
	case y.TargetsFile == "":
		r.mistake("$.prometheus", "targets_file is missing: the file that this host's Prometheus reads, such as /etc/prometheus/understudy/federate.json")
	case !filepath.IsAbs(y.TargetsFile):
		r.mistake("$.prometheus.targets_file", "targets_file %q must be an absolute path", y.TargetsFile)
	case ext != ".json":
		r.mistake("$.prometheus.targets_file", "targets_file %q must end in .json, by which Prometheus knows its form", y.TargetsFile)
	}
	host, port, err := net.SplitHostPort(y.Address)
	switch number, bad := strconv.ParseUint(port, 10, 16); {
	case y.Address == "":
		r.mistake("$.prometheus", "address is missing: the host:port at which the other instances reach this host's Prometheus")
	case err != nil || host == "" || bad != nil || number == 0 || strings.ContainsAny(host, "/@ "):
		r.mistake("$.prometheus.address", "address %q must be host:port, without a scheme: the other instances reach this host's Prometheus there", y.Address)
	}
	return federation.Config{TargetsFile: y.TargetsFile, Address: y.Address}
}

// SourceNames are the names of the sources in the YAML file, as far as it can be read.
func (h *Host) SourceNames() (names []string) {
	text, err := os.ReadFile(h.Config)
	if err != nil {
		return nil
	}
	file, _, _, err := parseFile(text)
	if err != nil {
		return nil
	}
	for _, s := range file.Sources {
		if s.Name != "" {
			names = append(names, s.Name)
		}
	}
	return names
}

package settings

import (
	"reflect"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/command"
	"github.com/understudy-ha/understudy/backup/source/directory"
	"github.com/understudy-ha/understudy/backup/source/file"
	"github.com/understudy-ha/understudy/backup/source/postgres"
	"github.com/understudy-ha/understudy/backup/source/postgrescluster"
	"github.com/understudy-ha/understudy/backup/source/prometheus"
	"github.com/understudy-ha/understudy/backup/source/sqlite"
)

// This file alone knows which kinds of sources there are. To import the package of a
// kind registers it. A kind has a field of sourceYAML, by the name of which it goes in
// the YAML file, and a type with what may be said of such a source there.

// sourceYAML is one source as the YAML file has it.
type sourceYAML struct {
	Name       string          `yaml:"name"`
	Directory  *directoryYAML  `yaml:"directory"`
	File       *singleFileYAML `yaml:"file"`
	SQLite     *sqliteYAML     `yaml:"sqlite"`
	Postgres   *postgresYAML   `yaml:"postgres"`
	Cluster    *clusterYAML    `yaml:"postgres_cluster"`
	Command    *commandYAML    `yaml:"command"`
	Prometheus *metricsYAML    `yaml:"prometheus"`
}

// kindYAML is what the YAML file says of a source of one kind.
type kindYAML interface {
	// check finds the mistakes that have a line of their own; source finds the rest.
	check(r *reader, place, name string)
	// source makes the source.
	source(r *reader, name string) (source.Source, error)
}

// kinds are those that the file gives the source, by name.
func (y *sourceYAML) kinds() map[string]kindYAML {
	given := map[string]kindYAML{}
	v := reflect.ValueOf(y).Elem()
	for i := range v.NumField() {
		if k, ok := v.Field(i).Interface().(kindYAML); ok && !v.Field(i).IsNil() {
			given[v.Type().Field(i).Tag.Get("yaml")] = k
		}
	}
	return given
}

// kindNames are the names of all kinds, in the order of sourceYAML.
var kindNames = func() (names []string) {
	for _, f := range reflect.VisibleFields(reflect.TypeFor[sourceYAML]()) {
		if f.Type.Implements(reflect.TypeFor[kindYAML]()) {
			names = append(names, f.Tag.Get("yaml"))
		}
	}
	return names
}()

type directoryYAML struct {
	Path      string        `yaml:"path"`
	Exclude   []string      `yaml:"exclude"`
	Databases databasesYAML `yaml:"databases"`
}

func (y *directoryYAML) check(r *reader, place, name string) {
	r.own(place+".path", name, y.Path, true)
}

func (y *directoryYAML) source(r *reader, name string) (source.Source, error) {
	return directory.New(name, directory.Config{
		Path: y.Path, Exclude: y.Exclude, Databases: directory.DatabasePolicy(y.Databases), Scratch: r.scratch(name),
	})
}

// databasesYAML is auto, off, or a list of patterns.
type databasesYAML directory.DatabasePolicy

// UnmarshalYAML reads either form.
func (d *databasesYAML) UnmarshalYAML(node ast.Node) error {
	text := scalar(node)
	switch {
	case node.Type() == ast.SequenceType:
		err := yaml.NodeToValue(node, &d.Patterns, yaml.Strict())
		if err == nil && len(d.Patterns) == 0 {
			err = lineErrorf(line(node), "the list of databases is empty; write databases: off, or patterns such as data/*.db")
		}
		return err
	case text == "auto":
	case text == "off":
		d.Off = true
	default:
		return lineErrorf(line(node), "databases: %q is not known; write auto, off, or a list of patterns such as [data/*.db]", text)
	}
	return nil
}

type singleFileYAML struct {
	Path string `yaml:"path"`
}

func (y *singleFileYAML) check(r *reader, place, name string) {
	r.own(place+".path", name, y.Path, false)
}

func (y *singleFileYAML) source(_ *reader, name string) (source.Source, error) {
	return file.New(name, file.Config{Path: y.Path})
}

type sqliteYAML struct {
	Path string `yaml:"path"`
}

func (y *sqliteYAML) check(r *reader, place, name string) { r.own(place+".path", name, y.Path, false) }

func (y *sqliteYAML) source(r *reader, name string) (source.Source, error) {
	return sqlite.New(name, sqlite.Config{Path: y.Path, Scratch: r.scratch(name)})
}

type postgresYAML struct {
	URL             Secret   `yaml:"url"`
	AdminURL        Secret   `yaml:"admin_url"`
	RestoreURL      Secret   `yaml:"restore_url"`
	LockTimeout     duration `yaml:"lock_timeout"`
	TrustSuperusers bool     `yaml:"trust_superusers"`
	Trust           []string `yaml:"trust"`
}

func (y *postgresYAML) check(r *reader, place, name string) {
	if y.URL == "" {
		r.mistake(place, "source %q has no url; add url: postgres://user@host/database", name)
	}
}

func (y *postgresYAML) source(r *reader, name string) (source.Source, error) {
	return postgres.New(name, postgres.Config{
		URL: string(y.URL), AdminURL: string(y.AdminURL), RestoreURL: string(y.RestoreURL), Scratch: r.scratch(name),
		LockTimeout: time.Duration(y.LockTimeout), TrustSuperusers: y.TrustSuperusers, Trust: y.Trust,
	})
}

type clusterYAML struct {
	DataDir   string   `yaml:"data_dir"`
	URL       Secret   `yaml:"url"`
	Start     []string `yaml:"start"`
	Stop      []string `yaml:"stop"`
	BinDir    string   `yaml:"bin_dir"`
	BaseEvery duration `yaml:"base_every"`
	Sync      bool     `yaml:"sync"`
	Patience  duration `yaml:"sync_patience"`
	Timeout   duration `yaml:"timeout"`
}

func (y *clusterYAML) check(r *reader, place, name string) {
	r.own(place+".data_dir", name, y.DataDir, false)
	if y.URL == "" {
		r.mistake(place, "source %q has no url; add url: postgres://user@127.0.0.1/postgres", name)
	}
	r.argv(place+".start", "start", y.Start)
	r.argv(place+".stop", "stop", y.Stop)
}

func (y *clusterYAML) source(r *reader, name string) (source.Source, error) {
	return postgrescluster.New(name, postgrescluster.Config{
		DataDir: y.DataDir, URL: string(y.URL), Start: y.Start, Stop: y.Stop, BinDir: y.BinDir,
		BaseEvery: time.Duration(y.BaseEvery), Sync: y.Sync, SyncPatience: time.Duration(y.Patience), Timeout: time.Duration(y.Timeout), Scratch: r.scratch(name), KeepOutput: r.keep,
	})
}

type commandYAML struct {
	Dump    []string `yaml:"dump"`
	Restore []string `yaml:"restore"`
	Timeout duration `yaml:"timeout"`
}

func (y *commandYAML) check(r *reader, place, _ string) {
	r.argv(place+".dump", "dump", y.Dump)
	r.argv(place+".restore", "restore", y.Restore)
}

func (y *commandYAML) source(r *reader, name string) (source.Source, error) {
	return command.New(name, command.Config{
		Dump: y.Dump, Restore: y.Restore, Timeout: time.Duration(y.Timeout), Scratch: r.scratch(name),
	})
}

type metricsYAML struct {
	URL     Secret   `yaml:"url"`
	DataDir string   `yaml:"data_dir"`
	Stop    []string `yaml:"stop"`
	Start   []string `yaml:"start"`
	Timeout duration `yaml:"timeout"`
}

func (y *metricsYAML) check(r *reader, place, name string) {
	r.own(place+".data_dir", name, y.DataDir, false)
	if y.URL == "" {
		r.mistake(place, "source %q has no url; add url: http://127.0.0.1:9090", name)
	}
	r.argv(place+".stop", "stop", y.Stop)
	r.argv(place+".start", "start", y.Start)
}

func (y *metricsYAML) source(r *reader, name string) (source.Source, error) {
	return prometheus.New(name, prometheus.Config{
		URL: string(y.URL), DataDir: y.DataDir, Stop: y.Stop, Start: y.Start,
		Timeout: time.Duration(y.Timeout), Scratch: r.scratch(name), KeepOutput: r.keep,
	})
}

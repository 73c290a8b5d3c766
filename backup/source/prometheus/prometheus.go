// Package prometheus is the kind of source that is the data of a Prometheus server. The
// server makes a snapshot of its blocks, which are files: package directory dumps,
// stages and swaps them. The server is stopped around a swap.
package prometheus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/outlet"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/directory"
	"github.com/understudy-ha/understudy/backup/source/internal/swap"
)

const kind = "prometheus"

func init() {
	source.Register(source.Kind{
		Name: kind, Files: true, Export: exportEntry,
		Compare: directory.Compare, // blocks are files
		Lost:    source.LostFacts[Facts],
	})
}

// Config describes a Prometheus server whose history is backed up.
type Config struct {
	// URL is the server's, on this host. Its admin API must be on.
	URL string
	// DataDir is its --storage.tsdb.path: absolute.
	DataDir string
	// Stop and Start are programs with their arguments, run around the swap of
	// DataDir. Both must be idempotent, and Stop may end only when the server
	// has.
	Stop, Start []string
	// Timeout bounds each run of them, and the taking of a snapshot. 0: five
	// minutes.
	Timeout time.Duration
	// Scratch is a folder for temporary data.
	Scratch string
	// KeepOutput reads on what a server prints that Start has left running; nil:
	// this process does.
	KeepOutput outlet.Collector
	// Now tells the time; nil for time.Now.
	Now func() time.Time
}

// Source is a source that backs up what a Prometheus server has measured:
// a snapshot that the server makes of its blocks, and of what it holds in
// memory as one more block. Blocks never change, and a snapshot only links
// them: those of the previous backup are not read again.
type Source struct {
	name      string
	cfg       Config
	tree      *directory.Source // DataDir
	api       *api
	snapshots *snapshots
	process   *process
	read      func(step, p string) error // the snapshot's Directory.fault, in tests
}

var (
	_ source.Source         = (*Source)(nil)
	_ source.Advancer       = (*Source)(nil)
	_ source.Placed         = (*Source)(nil)
	_ source.Sweeper        = (*Source)(nil)
	_ source.Stager         = (*Source)(nil)
	_ source.RestoreChecker = (*Source)(nil)
	_ source.Openable       = (*Source)(nil)
	_ source.Voluminous     = (*Source)(nil)
	_ source.Laster         = (*Source)(nil)
	_ source.Inspector      = (*Source)(nil)
	_ source.Rereader       = (*Source)(nil)
)

// Facts is what a Prometheus source's Entry tells in Facts.
type Facts struct {
	directory.Facts
	Version string     `json:"version"` // of the server
	Blocks  int        `json:"blocks"`
	Series  uint64     `json:"series"` // in all blocks
	Samples uint64     `json:"samples"`
	From    *time.Time `json:"from,omitempty"` // of the first sample
	To      *time.Time `json:"to,omitempty"`   // of the last one
}

// prometheusTimeout is the default of Config.Timeout.
const prometheusTimeout = 5 * time.Minute

// New makes a Prometheus source. Nothing is looked at yet.
func New(name string, cfg Config) (*Source, error) {
	u, err := url.Parse(cfg.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		// The text may hold a password.
		return nil, fmt.Errorf("source %s: prometheus: url is not of the form http://127.0.0.1:9090", name)
	case len(cfg.Stop) == 0 || len(cfg.Start) == 0:
		return nil, fmt.Errorf("source %s: prometheus: stop and start are needed: the data folder is only swapped while the server is stopped", name)
	case cfg.Scratch == "":
		return nil, fmt.Errorf("source %s: prometheus: no scratch folder", name)
	}
	tree, err := directory.New(name, directory.Config{Path: cfg.DataDir, Now: cfg.Now})
	if err != nil {
		return nil, err
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = prometheusTimeout
	}
	cfg.DataDir, cfg.Now = tree.Config().Path, tree.Config().Now
	u.Path = strings.TrimSuffix(u.Path, "/")
	p := &Source{name: name, cfg: cfg, api: &api{
		url: u, timeout: cfg.Timeout,
		client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, // a few requests, minutes apart
	}}
	p.lieAt(tree, cfg.DataDir)
	return p, nil
}

// lieAt makes the parts that know where the data lies.
func (p *Source) lieAt(tree *directory.Source, dataDir string) {
	p.tree, p.cfg.DataDir = tree, dataDir
	p.snapshots = &snapshots{api: p.api, scratch: p.cfg.Scratch, dataDir: dataDir, now: p.cfg.Now, fault: swap.NoFault}
	p.process = &process{
		api: p.api, stop: p.cfg.Stop, start: p.cfg.Start, timeout: p.cfg.Timeout, scratch: p.cfg.Scratch, dataDir: dataDir,
		live: tree.Live, keepOutput: p.cfg.KeepOutput, fault: swap.NoFault,
	}
}

// Name implements Source.
func (p *Source) Name() string { return p.name }

// Kind implements Source.
func (p *Source) Kind() string { return kind }

// Check tells whether the server can make a snapshot that can be read here, and
// whether its data folder could be swapped.
func (p *Source) Check(ctx context.Context) error {
	err := p.checkServer(ctx)
	if err == nil {
		err = p.checkHere()
	}
	if err != nil {
		return fmt.Errorf("source %s: %w", p.name, err)
	}
	return nil
}

// CheckRestore is the part of Check that a restore needs: the server may be
// down, and its data folder missing.
func (p *Source) CheckRestore(context.Context) error {
	err := p.checkPrograms()
	if err == nil {
		err = p.tree.Swappable()
	}
	if err != nil {
		return fmt.Errorf("source %s: %w", p.name, err)
	}
	return nil
}

func (p *Source) checkServer(ctx context.Context) error {
	version, err := p.api.version(ctx)
	if err != nil {
		return fmt.Errorf("%w; start it, or correct url", err)
	}
	if before(version, 2, 1) {
		return fmt.Errorf("this is Prometheus %s, which makes no snapshots: 2.1 or later is needed", version)
	}
	flags, err := p.api.flags(ctx)
	if err != nil {
		return err
	}
	if flags["web.enable-admin-api"] != "true" {
		return errAdminAPI
	}
	// A relative path is relative to a folder that is not known.
	if path := flags["storage.tsdb.path"]; filepath.IsAbs(path) && !sameDir(path, p.cfg.DataDir) {
		return fmt.Errorf("the Prometheus at %s keeps its data in %s, not in data_dir %s", p.api.url.Redacted(), path, p.cfg.DataDir)
	}
	return nil
}

// errAdminAPI says how to turn on what snapshots need.
var errAdminAPI = errors.New("the admin API of Prometheus is off, which makes snapshots: start it with --web.enable-admin-api")

func sameDir(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

func (p *Source) checkPrograms() error {
	for _, argv := range [][]string{p.cfg.Stop, p.cfg.Start} {
		if _, err := exec.LookPath(argv[0]); err != nil {
			return fmt.Errorf("find the program that stops or starts Prometheus: %w", err)
		}
	}
	return nil
}

func (p *Source) checkHere() error {
	if err := p.checkPrograms(); err != nil {
		return err
	}
	if err := p.tree.Readable(); err != nil {
		return err
	}
	if err := unix.Access(p.cfg.DataDir, unix.W_OK); err != nil {
		return fmt.Errorf("write to %s, where snapshots are removed again: %w; run the agent as root, or as Prometheus's user", p.cfg.DataDir, err)
	}
	return nil
}

// snapshotTree is the source that reads a snapshot.
func (p *Source) snapshotTree(path string) *directory.Source {
	return directory.NewFrozen(p.name, path, p.cfg.Now, p.read)
}

// Place implements Placed.
func (p *Source) Place() (string, error) { return p.tree.Place() }

// At implements Placed.
func (p *Source) At(place string) source.Source {
	there := *p
	there.lieAt(p.tree.At(place).(*directory.Source), place)
	return &there
}

// asDirectory is an entry as the machinery for directories takes it.
func asDirectory(e source.Entry) source.Entry {
	e.Kind = directory.Kind
	return e
}

// exportEntry writes a dumped history to a place where nothing is: a
// folder for --storage.tsdb.path.
func exportEntry(ctx context.Context, r *pack.Reader, e source.Entry, at fsx.Place) error {
	return directory.ExportTree(ctx, r, asDirectory(e), at)
}

// blockMeta is what a block's meta.json tells.
type blockMeta struct {
	MinTime int64 `json:"minTime"` // milliseconds
	MaxTime int64 `json:"maxTime"` // exclusive
	Stats   struct {
		Samples uint64 `json:"numSamples"`
		Series  uint64 `json:"numSeries"`
	} `json:"stats"`
}

// maxBlockMeta is more than any block says of itself.
const maxBlockMeta = 16 << 20

func readBlock(snapshot *fsx.Dir, name string) (m blockMeta, err error) {
	block, err := snapshot.OpenDir(name)
	if err != nil {
		return m, err
	}
	defer block.Close()
	f, err := block.Open("meta.json", unix.O_RDONLY)
	if err != nil {
		return m, err
	}
	defer f.Close()
	if err := json.NewDecoder(io.LimitReader(f, maxBlockMeta)).Decode(&m); err != nil {
		return m, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	return m, nil
}

// countBlocks reads what the blocks in a snapshot say of themselves.
func (f *Facts) countBlocks(snapshot *fsx.Dir) error {
	blocks, err := snapshot.Names()
	if err != nil {
		return err
	}
	for _, name := range blocks {
		m, err := readBlock(snapshot, name)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
			continue // it is no block
		}
		if err != nil {
			return err
		}
		f.Blocks++
		f.Series += m.Stats.Series
		f.Samples += m.Stats.Samples
		from, to := time.UnixMilli(m.MinTime).UTC(), time.UnixMilli(m.MaxTime-1).UTC()
		if f.From == nil || from.Before(*f.From) {
			f.From = &from
		}
		if f.To == nil || to.After(*f.To) {
			f.To = &to
		}
	}
	return nil
}

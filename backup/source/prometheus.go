package source

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
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/outlet"
	"github.com/understudy-ha/understudy/backup/pack"
)

func init() {
	Register(Kind{
		Name: "prometheus", Files: true, Export: exportPrometheus,
		Compare: compareDirectories, // blocks are files
		Lost:    LostFacts[PrometheusFacts],
	})
}

// PrometheusConfig describes a Prometheus server whose history is backed up.
type PrometheusConfig struct {
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
	KeepOutput outlet.Keeper
	// Now tells the time; nil for time.Now.
	Now func() time.Time
}

// Prometheus is a source that backs up what a Prometheus server has measured:
// a snapshot that the server makes of its blocks, and of what it holds in
// memory as one more block. Blocks never change, and a snapshot only links
// them: those of the previous backup are not read again.
type Prometheus struct {
	name   string
	cfg    PrometheusConfig
	url    *url.URL
	client *http.Client
	tree   *Directory                 // DataDir
	fault  func(step string) error    // called after each step, in tests
	read   func(step, p string) error // the snapshot's Directory.fault, in tests
}

var (
	_ Source         = (*Prometheus)(nil)
	_ Advancer       = (*Prometheus)(nil)
	_ Placed         = (*Prometheus)(nil)
	_ Sweeper        = (*Prometheus)(nil)
	_ RestoreChecker = (*Prometheus)(nil)
	_ Openable       = (*Prometheus)(nil)
	_ Voluminous     = (*Prometheus)(nil)
	_ Laster         = (*Prometheus)(nil)
	_ Inspector      = (*Prometheus)(nil)
	_ Rereader       = (*Prometheus)(nil)
)

// PrometheusFacts is what a Prometheus source's Entry tells in Facts.
type PrometheusFacts struct {
	DirectoryFacts
	Version string     `json:"version"` // of the server
	Blocks  int        `json:"blocks"`
	Series  uint64     `json:"series"` // in all blocks
	Samples uint64     `json:"samples"`
	From    *time.Time `json:"from,omitempty"` // of the first sample
	To      *time.Time `json:"to,omitempty"`   // of the last one
}

// prometheusTimeout is the default of PrometheusConfig.Timeout.
const prometheusTimeout = 5 * time.Minute

// NewPrometheus makes a Prometheus source. Nothing is looked at yet.
func NewPrometheus(name string, cfg PrometheusConfig) (*Prometheus, error) {
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
	tree, err := NewDirectory(name, DirectoryConfig{Path: cfg.DataDir, Now: cfg.Now})
	if err != nil {
		return nil, err
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = prometheusTimeout
	}
	cfg.DataDir, cfg.Now = tree.cfg.Path, tree.cfg.Now
	u.Path = strings.TrimSuffix(u.Path, "/")
	return &Prometheus{
		name: name, cfg: cfg, url: u, tree: tree, fault: noFault, read: noPathFault,
		client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, // a few requests, minutes apart
	}, nil
}

// Name implements Source.
func (p *Prometheus) Name() string { return p.name }

// Kind implements Source.
func (p *Prometheus) Kind() string { return "prometheus" }

// Check tells whether the server can make a snapshot that can be read here, and
// whether its data folder could be swapped.
func (p *Prometheus) Check(ctx context.Context) error {
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
func (p *Prometheus) CheckRestore(context.Context) error {
	err := p.checkPrograms()
	if err == nil {
		_, _, err = p.tree.checkTarget()
	}
	if err != nil {
		return fmt.Errorf("source %s: %w", p.name, err)
	}
	return nil
}

func (p *Prometheus) checkServer(ctx context.Context) error {
	version, err := p.version(ctx)
	if err != nil {
		return fmt.Errorf("%w; start it, or correct url", err)
	}
	if before(version, 2, 1) {
		return fmt.Errorf("this is Prometheus %s, which makes no snapshots: 2.1 or later is needed", version)
	}
	flags, err := p.flags(ctx)
	if err != nil {
		return err
	}
	if flags["web.enable-admin-api"] != "true" {
		return errAdminAPI
	}
	// A relative path is relative to a folder that is not known.
	if path := flags["storage.tsdb.path"]; filepath.IsAbs(path) && !sameFolder(path, p.cfg.DataDir) {
		return fmt.Errorf("the Prometheus at %s keeps its data in %s, not in data_dir %s", p.url.Redacted(), path, p.cfg.DataDir)
	}
	return nil
}

// errAdminAPI says how to turn on what snapshots need.
var errAdminAPI = errors.New("the admin API of Prometheus is off, which makes snapshots: start it with --web.enable-admin-api")

func sameFolder(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

func (p *Prometheus) checkPrograms() error {
	for _, argv := range [][]string{p.cfg.Stop, p.cfg.Start} {
		if _, err := exec.LookPath(argv[0]); err != nil {
			return fmt.Errorf("find the program that stops or starts Prometheus: %w", err)
		}
	}
	return nil
}

func (p *Prometheus) checkHere() error {
	if err := p.checkPrograms(); err != nil {
		return err
	}
	if err := p.tree.check(); err != nil {
		return err
	}
	if err := unix.Access(p.cfg.DataDir, unix.W_OK); err != nil {
		return fmt.Errorf("write to %s, where snapshots are removed again: %w; run the agent as root, or as Prometheus's user", p.cfg.DataDir, err)
	}
	return nil
}

// snapshotTree is the source that reads a snapshot.
func (p *Prometheus) snapshotTree(path string) *Directory {
	return &Directory{
		busy: new(sync.Mutex),
		name: p.name, cfg: DirectoryConfig{Path: path, Now: p.cfg.Now, Databases: DatabasePolicy{Off: true}}, frozen: true,
		fault: p.read, swapFault: noFault,
	}
}

// Place implements Placed.
func (p *Prometheus) Place() (string, error) { return p.tree.Place() }

// At implements Placed.
func (p *Prometheus) At(place string) Source {
	there := *p
	there.tree, there.cfg.DataDir = p.tree.At(place).(*Directory), place
	return &there
}

// asDirectory is an entry as the machinery for directories takes it.
func asDirectory(e Entry) Entry {
	e.Kind = "directory"
	return e
}

// exportPrometheus writes a dumped history to a place where nothing is: a
// folder for --storage.tsdb.path.
func exportPrometheus(ctx context.Context, r *pack.Reader, e Entry, at fsx.Place) error {
	return exportTree(ctx, r, asDirectory(e), at)
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
	block, err := snapshot.Folder(name)
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
func (f *PrometheusFacts) countBlocks(snapshot *fsx.Dir) error {
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

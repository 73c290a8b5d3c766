// Package postgrescluster is the kind of source that is a whole PostgreSQL server: its data
// folder, with all databases and roles. A backup is a base, which the server sends while
// it works, and the log (WAL) from there on. A stage is another data folder beside the
// server's, brought forward by a server of the agent's own; a swap exchanges the two by
// rename, while the server is stopped.
//
// Below it: basebackup (a server's data folder, as the server sends it), wal (segments and
// records of the log).
package postgrescluster

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/holder"
	"github.com/understudy-ha/understudy/backup/outlet"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
	"github.com/understudy-ha/understudy/backup/source/internal/swap"
	"github.com/understudy-ha/understudy/backup/source/volume"
)

const kind = "postgres_cluster"

func init() {
	source.Register(source.Kind{
		Name: kind, Export: exportEntry, Compare: compareEntries,
		Lost: source.LostFacts[Facts], Since: since, LogPosition: logPosition, Held: held,
		Moments: &source.Moments{Recording: recording, Continues: continues, Log: logFrom, Export: exportMoment},
	})
}

// Config describes a PostgreSQL server.
type Config struct {
	// DataDir is its data folder: absolute.
	DataDir string
	// URL names a database of the server, on this host, and a role that may replicate
	// and read the server's settings.
	URL string
	// Start and Stop are programs with their arguments. Both must be idempotent, and
	// Stop may end only when the server has.
	Start, Stop []string
	// BinDir is where the server's programs are; "": where distributions have those of
	// the server's version.
	BinDir string
	// Timeout bounds each run of Start and Stop, and what is waited for after them; 0:
	// five minutes.
	Timeout time.Duration
	// BaseEvery is the age at which a base is replaced by a new one; 0: a day.
	BaseEvery time.Duration
	// Sync has commits wait until they are in the bucket. SyncPatience is how long they wait
	// at most for a bucket that does not answer, where the cluster's fencing lets an active
	// go on without it; 0: ten seconds.
	Sync         bool
	SyncPatience time.Duration
	// Scratch is a folder for temporary data.
	Scratch string
	// KeepOutput reads on what a server prints that Start has left running; nil: this
	// process does.
	KeepOutput outlet.Collector
	// Now tells the time; nil for time.Now.
	Now func() time.Time
}

// Defaults of Config.
const (
	defaultTimeout   = 5 * time.Minute
	defaultBaseEvery = 24 * time.Hour
	defaultPatience  = 10 * time.Second
)

// Source is a PostgreSQL server.
type Source struct {
	name    string
	cfg     Config
	server  *primary
	checker *checker
	dumper  *dumper
	place   *place
	stager  *stager
	process *process
	terms   *terms

	streamer *streamer
	follower *follower
	sync     *synced
	busy     *sync.Mutex // held while something is staged or swapped
}

var (
	_ source.Source         = (*Source)(nil)
	_ source.Placed         = (*Source)(nil)
	_ source.Sweeper        = (*Source)(nil)
	_ source.Stager         = (*Source)(nil)
	_ source.RestoreChecker = (*Source)(nil)
	_ source.Openable       = (*Source)(nil)
	_ source.Voluminous     = (*Source)(nil)
	_ source.Positioner     = (*Source)(nil)
	_ source.Served         = (*Source)(nil)
	_ source.Connected      = (*Source)(nil)
	_ source.Synced         = (*Source)(nil)
	_ source.Streamer       = (*Source)(nil)
	_ source.LogKeeper      = (*Source)(nil)
	_ source.Follower       = (*Source)(nil)
	_ source.Shut           = (*Source)(nil)
	_ source.Advancer       = (*Source)(nil)
	_ source.Rejoiner       = (*Source)(nil)
	_ source.Checkpointer   = (*Source)(nil)
)

// New makes a PostgreSQL server a source. Nothing is looked at yet.
func New(name string, cfg Config) (*Source, error) {
	s, err := newSource(name, cfg)
	if err != nil {
		return nil, fmt.Errorf("source %s: %s: %w", name, kind, err)
	}
	return s, nil
}

func newSource(name string, cfg Config) (*Source, error) {
	switch {
	case !filepath.IsAbs(cfg.DataDir):
		return nil, fmt.Errorf("data_dir %q is not absolute", cfg.DataDir)
	case len(cfg.Start) == 0 || len(cfg.Stop) == 0:
		return nil, errors.New("start and stop are needed: the data folder is only swapped while the server is stopped")
	case cfg.BinDir != "" && !filepath.IsAbs(cfg.BinDir):
		return nil, fmt.Errorf("bin_dir %q is not absolute", cfg.BinDir)
	case cfg.Scratch == "":
		return nil, errors.New("scratch folder is missing")
	}
	url, err := pgclient.ParseURL(cfg.URL, lockTimeout)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.BaseEvery == 0 {
		cfg.BaseEvery = defaultBaseEvery
	}
	if cfg.SyncPatience == 0 {
		cfg.SyncPatience = defaultPatience
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.DataDir = filepath.Clean(cfg.DataDir)
	s := &Source{name: name, cfg: cfg, busy: new(sync.Mutex)}
	s.assemble(url)
	return s, nil
}

// lockTimeout bounds what a question to the server waits for.
const lockTimeout = time.Minute

// assemble makes the parts, each with those that it needs.
func (s *Source) assemble(url pgclient.URL) {
	cfg := s.cfg
	s.server = &primary{url: url, dataDir: cfg.DataDir, called: slotName(s.name, "_backup"), now: cfg.Now, unread: unreadFor, answers: answersIn}
	s.terms = &terms{scratch: cfg.Scratch}
	programs := &programs{dir: cfg.BinDir}
	s.place = &place{path: cfg.DataDir, fault: swap.NoFault}
	kept := slot{name: slotName(s.name, "_backup")}
	s.sync = &synced{server: s.server, called: slotName(s.name, ""), wanted: cfg.Sync, patience: cfg.SyncPatience}
	s.checker = &checker{server: s.server, place: s.place, programs: programs, slot: kept, sync: s.sync, commands: [][]string{cfg.Start, cfg.Stop}}
	s.dumper = &dumper{name: s.name, server: s.server, slot: kept, terms: s.terms, baseEvery: cfg.BaseEvery, minLog: maxLogOfSmall}
	s.streamer = &streamer{server: s.server, slot: slot{name: slotName(s.name, "")}, backup: kept, terms: s.terms, marks: marks{scratch: cfg.Scratch}, eager: cfg.Sync}
	s.stager = &stager{place: s.place, programs: programs, terms: s.terms, free: freeAt}
	s.follower = &follower{place: s.place, programs: programs, stager: s.stager, timeout: cfg.Timeout}
	s.process = &process{
		server: s.server, place: s.place, programs: programs, terms: s.terms, start: cfg.Start, stop: cfg.Stop,
		timeout: cfg.Timeout, scratch: cfg.Scratch, keepOutput: cfg.KeepOutput,
	}
	s.streamer.process = s.process
}

// Name implements Source.
func (s *Source) Name() string { return s.name }

// Kind implements Source.
func (s *Source) Kind() string { return kind }

// Check tells what the server lacks, with what mends it, a line each.
func (s *Source) Check(ctx context.Context) error { return s.say("source %s", s.checker.check(ctx)) }

// CheckRestore is the part of Check that a restore needs: the server may be down, and its
// data folder missing.
func (s *Source) CheckRestore(ctx context.Context) error {
	return s.say("source %s", s.checker.checkRestore(ctx))
}

// say names the source in an error. The verb has %s for it.
func (s *Source) say(verb string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(verb+": %w", s.name, err)
}

// Dump implements Source.
func (s *Source) Dump(ctx context.Context, w *pack.Writer, prev *source.Previous) (source.Entry, error) {
	e, err := s.dumper.dump(ctx, w, prev)
	return e, s.say("dump %s", err)
}

// Position implements Positioner: how far the server is in its log.
func (s *Source) Position(ctx context.Context) (at string, err error) {
	at, err = s.server.position(ctx)
	return at, s.say("ask %s for its position", err)
}

// Place implements Placed.
func (s *Source) Place() (string, error) { return fsx.RealPath(s.cfg.DataDir) }

// At implements Placed.
func (s *Source) At(place string) source.Source {
	there := *s
	there.cfg.DataDir = place
	there.assemble(s.server.url)
	return &there
}

// Staged is the path of the staged data folder.
func (s *Source) Staged() string { return swap.Besides(fsx.RealPathOr(s.cfg.DataDir), "staged") }

// Volumes implements source.Voluminous.
func (s *Source) Volumes() ([]volume.Volume, error) { return volume.OfFile(s.cfg.DataDir) }

// Live implements Openable: the server that has it open is stopped by the swap itself.
func (s *Source) Live() ([]holder.Place, error) { return nil, nil }

// Replaced implements Openable.
func (s *Source) Replaced() ([]holder.Place, error) {
	return []holder.Place{{Path: swap.Besides(fsx.RealPathOr(s.cfg.DataDir), "replaced")}}, nil
}

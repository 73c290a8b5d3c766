package agent

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/backup/holder"
	"github.com/understudy-ha/understudy/backup/outlet"
	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/application"
	"github.com/understudy-ha/understudy/ha/clock"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/datadir"
	"github.com/understudy-ha/understudy/ha/federation"
	"github.com/understudy-ha/understudy/ha/runner"
)

// Defaults of a Config.
const (
	DefaultPoll = 10 * time.Second
	DefaultKeep = 10
)

// Config is all that an agent is given. Only package main fills one.
type Config struct {
	Store blobstore.Store // the bucket; conditional writes are not retried inside
	// Lifecycle reads the rules by which the bucket deletes; nil: it has none
	// that a client could read, and the active deletes what has expired.
	Lifecycle blobstore.Lifecycle
	Ring      *seal.Ring
	DataDir   string // made if it is missing, mode 0700
	Instance  string // this instance's name
	URL       string // where peers reach this instance; "" for polling only
	Version   string // of this program
	Poll      time.Duration
	Sources   []source.Source
	Hooks     application.Hooks
	Rehearsal ha.RehearsalPolicy
	// ApplyEvery is how often a standby asks for the logs of sources while they come; 0: as
	// often as they are shipped.
	ApplyEvery time.Duration
	// Federation is of this host's Prometheus.
	Federation federation.Config
	// KeepOutput reads on what a program prints that a hook has left running; nil:
	// the agent does, for as long as it runs.
	KeepOutput outlet.Collector
	// Application, where there is one, is run instead of the promote and demote
	// hooks; nil: those start and stop it.
	Application application.Supervisor
	// Supervised says that the agent of this host runs the application, also to those
	// who have no need of an Application, as Join and Init.
	Supervised bool
	// AppVersion tells the application's version; nil: it has none.
	AppVersion func(ctx context.Context) (string, error)
	Logger     *slog.Logger // nil: no logs
	HTTP       *http.Client // for notifications; nil: a plain one
	Clock      clock.Clock  // nil: SystemClock
	Random     io.Reader    // nil: crypto/rand
	// RequestTimeout bounds one request for a control object.
	RequestTimeout time.Duration
	Keep           int // how many backups the cache keeps
	// Step, where there is one, is told of each durable step (Steps): its name
	// with ".before" just before it begins, and with ".after" when it has been
	// taken. It is called from several goroutines. Tests end the process there.
	Step func(point string)

	// Beat, where there is one, is called with each turn of the agent's loop, which
	// comes at least every second: while it is not, nothing is fenced. It must not
	// block.
	Beat func()

	hooks application.Runner // replaced in tests
	// find looks who has the live state of a standby open; replaced in tests, whose
	// clocks have it done thousands of times.
	find func(context.Context, []holder.Place, func(pid int) bool) (holder.Found, error)
}

func invalid(format string, args ...any) error { return ha.Invalidf(format, args...) }

// complete checks a configuration and fills in its defaults.
func (c Config) complete() (Config, error) {
	switch {
	case c.Store == nil || c.Ring == nil:
		return c, invalid("a bucket and a key are needed")
	case c.DataDir == "":
		return c, invalid("the data folder is not given")
	case c.Poll < 0 || c.RequestTimeout < 0 || c.Keep < 0:
		return c, invalid("poll interval, request timeout and number of cached backups cannot be negative")
	}
	if err := checkName(c.Instance); err != nil {
		return c, err
	}
	c.URL = strings.TrimSuffix(c.URL, "/")
	if c.Poll == 0 {
		c.Poll = DefaultPoll
	}
	if c.RequestTimeout == 0 {
		c.RequestTimeout = control.DefaultTimeout
	}
	if c.Keep == 0 {
		c.Keep = DefaultKeep
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.HTTP == nil {
		c.HTTP = &http.Client{}
	}
	if c.Clock == nil {
		c.Clock = clock.System()
	}
	if c.Random == nil {
		c.Random = rand.Reader
	}
	c.Store = runner.Steps(c.Step).Store(c.Store)
	if c.find == nil {
		c.find = holder.Find
	}
	if c.hooks == nil {
		c.hooks = application.Exec{Env: c.Hooks.Env, Folder: filepath.Join(c.DataDir, datadir.HooksFolder), Keep: c.KeepOutput}
	}
	return c, nil
}

// control is what the control store is given.
func (c Config) control() control.Config {
	return control.Config{Store: c.Store, Ring: c.Ring, Timeout: c.RequestTimeout, Clock: c.Clock}
}

// checkName says whether a name can be an instance's: it is part of keys in
// the bucket.
func checkName(name string) error {
	if name == "" || len(name) > 128 || strings.Contains(name, "/") {
		return invalid("the instance's name %q must have 1 to 128 characters and no slash", name)
	}
	if err := blobstore.CheckKey(ha.InstanceKey(name)); err != nil {
		return invalid("the instance's name %q cannot be used: %w", name, err)
	}
	return nil
}

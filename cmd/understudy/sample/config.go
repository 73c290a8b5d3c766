package sample

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/pflag"
)

// config is where the application keeps what, the same for every subcommand.
type config struct {
	self     []string // see Run
	data     string   // sample.db and uploads/: the state to back up
	runDir   string   // lock, address, log: this host's own
	ledger   string   // acknowledged serials; "" for none
	postgres string   // instead of data/sample.db
	files    bool
	listen   string
	interval time.Duration
	payload  int
	stopWait time.Duration
	hold     time.Duration
	lifeline lifeline
}

func (c *config) register(f *pflag.FlagSet) {
	f.StringVar(&c.data, "data", "sample-data", "folder of the state: sample.db and uploads/")
	f.StringVar(&c.runDir, "run-dir", "", "folder of lock, address and log (DATA/run)")
	f.StringVar(&c.ledger, "ledger", "", "file to which acknowledged serials are appended; keep it outside the backup")
	f.StringVar(&c.postgres, "postgres", "", "URL of a PostgreSQL database to use instead of SQLite")
	f.BoolVar(&c.files, "files", true, "write a file in DATA/uploads with every row")
	f.StringVar(&c.listen, "listen", "127.0.0.1:0", "address of the page")
	f.DurationVar(&c.interval, "interval", 20*time.Millisecond, "pause between commits")
	f.IntVar(&c.payload, "payload", 1024, "bytes in each payload")
	f.DurationVar(&c.stopWait, "stop-timeout", 10*time.Second, "stop: how long after TERM comes KILL")
	f.DurationVar(&c.hold, "hold", time.Minute, "quiesce: longest hold, should resume never come")
	f.StringVar((*string)(&c.lifeline), "lifeline", "", "run: end when nobody holds this file locked")
}

// complete makes paths absolute and checks the numbers.
func (c *config) complete() error {
	if c.runDir == "" {
		c.runDir = filepath.Join(c.data, "run")
	}
	for _, path := range []*string{&c.data, &c.runDir, &c.ledger, (*string)(&c.lifeline)} {
		if *path == "" {
			continue
		}
		abs, err := filepath.Abs(*path)
		if err != nil {
			return fmt.Errorf("resolve %s: %w", *path, err)
		}
		*path = abs
	}
	switch {
	case c.interval <= 0:
		return fmt.Errorf("%w: --interval must be positive", ErrUsage)
	case c.payload < 1 || c.payload > 16<<20:
		return fmt.Errorf("%w: --payload must be between 1 byte and 16 MiB", ErrUsage)
	case c.hold <= 0 || c.stopWait <= 0:
		return fmt.Errorf("%w: --hold and --stop-timeout must be positive", ErrUsage)
	}
	return nil
}

func (c config) uploads() string { return filepath.Join(c.data, "uploads") }

// arguments makes this program, started again, run the application with this
// config.
func (c config) arguments() []string {
	return append(slices.Clone(c.self), []string{
		"run",
		"--data=" + c.data,
		"--run-dir=" + c.runDir,
		"--ledger=" + c.ledger,
		"--postgres=" + c.postgres,
		fmt.Sprintf("--files=%t", c.files),
		"--listen=" + c.listen,
		"--interval=" + c.interval.String(),
		fmt.Sprintf("--payload=%d", c.payload),
		"--stop-timeout=" + c.stopWait.String(),
		"--hold=" + c.hold.String(),
		"--lifeline=" + string(c.lifeline),
	}...)
}

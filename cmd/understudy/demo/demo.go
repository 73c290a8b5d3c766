// Package demo tells the whole story of a cluster on one machine, with real
// processes: three hosts (an agent each), a directory as the bucket, and the sample
// application. Every promise is checked against a ledger of all commits that the
// application has acknowledged.
//
// The agents are this very program, started with other arguments: Run needs a
// program whose command line is understudy's.
package demo

import (
	"context"
	"errors"
	"io"
	"os/signal"
	"syscall"
	"time"
)

// Options say how the story is told.
type Options struct {
	Once bool   // end when the story is told
	Keep bool   // keep the files
	Dir  string // empty or new directory to work in; "": a temporary one
	// Password is what the user of the consoles signs in with, once the story is told.
	Password string
}

// ErrNotEmpty refuses a directory that has something in it.
var ErrNotEmpty = errors.New("the directory is not empty")

// Report is what the demo prints with --json.
type Report struct {
	OK      bool     `json:"ok"`
	Seconds float64  `json:"seconds"`
	Checks  []Check  `json:"checks"`
	Figures []Figure `json:"figures"`
	Dir     string   `json:"dir"`
	Hosts   []Host   `json:"hosts"`
}

// Host says how to look at a host.
type Host struct {
	Name        string `json:"name"`
	URL         string `json:"url"`
	Environment string `json:"environment"` // file for a shell to read
	Log         string `json:"log"`
}

// Run tells the story to out. show prints the report; summary writes its end for
// people. An error says that the story did not come to its end, or that a promise
// was broken; ErrNotEmpty is about the directory.
func Run(ctx context.Context, o Options, out io.Writer, show func(r Report, summary func()) error) (err error) {
	// A terminal that is closed must not leave anything behind either.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP)
	defer stop()
	stage, err := newStage(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.close(ctx)) }()
	story := &story{stage: stage, say: newTeller(out), now: time.Now}
	report := story.tell(ctx)
	if ctx.Err() != nil {
		return errors.New("the story was not told to its end")
	}
	if err := show(report, func() { story.say.summary(report) }); err != nil {
		return err
	}
	if !report.OK {
		return errors.New("the story did not go as promised; --keep keeps bucket, logs and data for a look")
	}
	if o.Once {
		return nil
	}
	if err := stage.addUser(ctx, o.Password); err != nil {
		return err
	}
	story.say.lookAround(stage, o.Password)
	<-ctx.Done()
	story.say.leave(o.Keep, stage.dir)
	return nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/backup/environ"
	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/cmd/understudy/settings"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/agent"
	"github.com/understudy-ha/understudy/ha/api"
	"github.com/understudy-ha/understudy/ha/application"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/datadir"
)

// finding is what `doctor` says of one thing.
type finding struct {
	Name   string `json:"name"`
	Result result `json:"result"`
	Detail string `json:"detail"`
	// Promise is what the store must do, where the finding is about that.
	Promise string `json:"promise,omitempty"`
	// Values are what was measured, named with their units.
	Values map[string]float64 `json:"values,omitempty"`

	broken bool // the store does not keep the promise
}

// result is how good one thing is.
type result string

const (
	good    result = "ok"
	warning result = "warning"
	bad     result = "failed" // a backup or a promotion would fail, or be unsafe
)

func newDoctor(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check that backups and promotions would be safe on this host",
		Long: `Check bucket, key, configuration, sources and hooks of this host, and say what would
break: whether the bucket keeps the promises that everything depends on (writes under
a condition, also by many at once; reads and lists that see what was written), what
this host may do there, how fast it is and whether the clocks agree, whether the key
fits, whether the packs of the newest backup are there, whether each source can be
dumped and restored, whether hooks can be run, and whether the application would start
at boot by itself.

It writes small objects below probe/ in the bucket, and a few of up to 4 MiB, and
removes them. It takes some seconds. Exit code 4 when a check failed; warnings are for
you to judge.`,
		Example: `  understudy doctor

  # which promises does this store break?
  understudy doctor --bucket s3://backups/myapp --json | jq -r '.[] | select(.promise and .result == "failed").name'`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			found := a.examine(cmd.Context())
			if err := cmd.Context().Err(); err != nil {
				return err
			}
			if err := a.printer().show(found, func(w io.Writer) { showFindings(w, found) }); err != nil {
				return err
			}
			return diagnosis(found)
		},
	}
}

func showFindings(w io.Writer, found []finding) {
	var rows [][]any
	for _, f := range found {
		rows = append(rows, []any{f.Name, f.Result, f.Detail})
	}
	table(w, []any{"CHECK", "RESULT", "DETAIL"}, rows)
}

// diagnosis is an error when a check failed.
func diagnosis(found []finding) error {
	failed, broken := 0, []string(nil)
	for _, f := range found {
		if f.Result == bad {
			failed++
		}
		if f.broken {
			broken = append(broken, f.Name)
		}
	}
	if failed == 0 {
		return nil
	}
	err := fmt.Errorf("%d of %d checks failed: a promotion would not be safe", failed, len(found))
	if len(broken) > 0 {
		err = fmt.Errorf("%w: the store breaks %s", err, strings.Join(broken, ", "))
	}
	return exit.With(exit.ErrBucket, err)
}

// is makes a finding of a check's error.
func is(name string, err error, detail string) finding {
	if err != nil {
		return finding{Name: name, Result: bad, Detail: err.Error()}
	}
	return finding{Name: name, Result: good, Detail: detail}
}

// examine looks at everything.
func (a *app) examine(ctx context.Context) []finding {
	var found []finding
	ring, err := a.set.Ring()
	if err != nil {
		found = append(found, is("key", err, ""))
	}
	for _, path := range []string{a.set.KeyFile, a.set.AdminTokenFile} {
		if problem := settings.CheckPrivate(path); problem != "" {
			found = append(found, finding{Name: "private files", Result: warning, Detail: problem})
		}
	}
	found = append(found, a.examineBucket(ctx, ring)...)
	c, err := a.set.File(keepOutput)
	found = append(found, is("configuration", err, a.set.Config))
	if err != nil {
		return found
	}
	found = append(found, a.examineSources(ctx, c.Sources)...)
	found = append(found, examineOpenFiles(ctx, c.Sources))
	found = append(found, examineVersion(ctx, c.Version)...)
	found = append(found, examineHooks(c.Hooks)...)
	found = append(found, examineFederation(c.Prometheus)...)
	return append(found, bootChecks(ctx, c.Hooks)...)
}

// examineSources looks whether each source can be dumped, on the active, or
// restored, on a standby.
func (a *app) examineSources(ctx context.Context, sources []source.Source) []finding {
	var role ha.Role
	if journal, err := datadir.ReadJournal(a.set.DataDir); err == nil && journal != nil {
		role = journal.Role
	}
	found := make([]finding, len(sources))
	for i, s := range sources {
		found[i] = examineSource(ctx, s, role)
	}
	return found
}

// examineSource looks at one source. A host that belongs to no cluster may
// become either.
func examineSource(ctx context.Context, s source.Source, role ha.Role) finding {
	name := "source " + s.Name()
	if role == ha.RoleStandby {
		return is(name, source.CheckRestore(ctx, s), s.Kind()+", can be restored here")
	}
	f := is(name, s.Check(ctx), s.Kind())
	if f.Result == bad && role == "" && source.CheckRestore(ctx, s) == nil {
		f.Result = warning
		f.Detail += "; a standby may lack it: a promotion makes it"
	}
	return f
}

// examineBucket looks at the store, and at the cluster in it if there is a key.
func (a *app) examineBucket(ctx context.Context, ring *seal.Ring) []finding {
	store, err := openBucket(ctx, a.set, slog.New(slog.DiscardHandler))
	if err != nil {
		return []finding{is("bucket", err, "")}
	}
	found := append(a.examineStore(ctx, store), examineFolder(a.set.Bucket)...)
	ctx, cancel := context.WithTimeout(ctx, clusterTimeout)
	defer cancel()
	var bucket *control.Store
	if ring != nil {
		var more []finding
		bucket, more = a.examineCluster(ctx, store, ring)
		found = append(found, more...)
		if bucket != nil {
			found = append(found, a.examinePacks(ctx, bucket)...)
		}
	}
	found = append(found, defaultLockFindings(ctx, store, bucket)...)
	return append(found, lifecycleFindings(ctx, store.lifecycle, bucket)...)
}

// clusterTimeout bounds what is asked of the cluster's objects.
const clusterTimeout = 30 * time.Second

// examineCluster finds out whether the key fits the cluster, and whether this
// host belongs to it. The bucket is nil without a cluster that can be read.
func (a *app) examineCluster(ctx context.Context, store blobstore.Store, ring *seal.Ring) (*control.Store, []finding) {
	bucket, _, err := control.Open(ctx, control.Config{Store: store, Ring: ring})
	unanswered := (*blobstore.Error)(nil)
	switch {
	case errors.Is(err, control.ErrBucket):
		return nil, []finding{{Name: "cluster", Result: warning, Detail: "none yet: make one with understudy init"}}
	case errors.As(err, &unanswered):
		return nil, []finding{is("cluster", err, "")}
	case err != nil:
		return nil, []finding{is("key", err, "")}
	}
	a.compare(bucket)
	found := []finding{is("key", nil, ring.String())}
	head, err := bucket.Head(ctx)
	if err != nil {
		return bucket, append(found, is("cluster", err, ""))
	}
	found = append(found, is("cluster", nil, fmt.Sprintf("%s, active %s, epoch %d", bucket.Cluster(), head.Active.Name, head.Epoch)))
	if text := a.older.text; text != "" {
		found = append(found, finding{Name: "head", Result: bad, Detail: text})
	}
	return bucket, append(found, examineDataDir(a.set.DataDir, bucket.Cluster()))
}

// examinePacks looks whether the packs of the newest backup are in the bucket.
// An agent that runs here is asked to look as well: it stores again what is
// missing.
func (a *app) examinePacks(ctx context.Context, bucket *control.Store) []finding {
	const name = "packs"
	missing, of, err := bucket.Chain().MissingPacks(ctx)
	switch {
	case err != nil:
		return []finding{is(name, fmt.Errorf("the newest backup cannot be restored whole: %w", err), "")}
	case of == 0:
		return nil
	case len(missing) == 0:
		return []finding{is(name, nil, fmt.Sprintf("the newest backup needs %d, and all are there", of))}
	}
	detail := fmt.Sprintf("%d of the %d that the newest backup needs are missing, or cut short (%s): it cannot be restored whole from the bucket", len(missing), of, missing[0].Digest.Key())
	if c, err := a.agent(); err == nil {
		var s agent.Status
		if c.get(ctx, "/api/v1/status", &s) == nil && s.LastBackup != nil &&
			c.do(ctx, http.MethodPost, "/api/v1/backups/"+url.PathEscape(s.LastBackup.ID)+"/verify", nil, new(api.Verification)) == nil && s.Leading {
			detail += "; the active looks as well, and stores again what was in them"
		}
	}
	return []finding{{Name: name, Result: bad, Detail: detail + " (or: understudy backup --full)"}}
}

// examineDataDir finds out whether a data folder belongs to the cluster.
func examineDataDir(dir, cluster string) finding {
	journal, err := datadir.ReadJournal(dir)
	f := is("data folder", err, dir)
	switch {
	case err != nil:
	case journal == nil:
		f.Result, f.Detail = warning, dir+" belongs to no cluster yet: understudy join"
	case journal.Cluster != cluster:
		f.Result, f.Detail = bad, fmt.Sprintf("%s belongs to another cluster (%s)", dir, journal.Cluster)
	}
	return f
}

func examineVersion(ctx context.Context, v settings.Version) []finding {
	read := v.Read(environ.WithoutSecrets(os.Environ()))
	if read == nil {
		return []finding{{Name: "version", Result: warning, Detail: "application.version is not set: a backup of another version of the application would be restored without a question"}}
	}
	text, err := read(ctx)
	return []finding{is("version", err, text)}
}

// examineHooks looks whether the hooks can be run.
// examineFederation looks whether this host's Prometheus can be told whose to
// federate. Neither backups nor promotions need that.
func examineFederation(f agent.Federation) []finding {
	if f.TargetsFile == "" {
		return nil
	}
	found := is("federation", f.Check(), f.TargetsFile)
	if found.Result == bad {
		found.Result = warning
	}
	return []finding{found}
}

func examineHooks(h application.Hooks) []finding {
	var found []finding
	for _, hook := range []struct {
		name    string
		command []string
		without string
	}{
		{"promote", h.Promote.Command, "nothing starts the application at a promotion, unless understudy exec runs it"},
		{"demote", h.Demote.Command, "nothing but people can stop the application when another host takes over, unless understudy exec runs it: a switchover from here needs somebody's word that it is stopped, after a failover it may run beside the new one, and strict fencing is refused"},
		{"pre_backup", h.PreBackup.Command, ""},
		{"post_backup", h.PostBackup.Command, ""},
		{"probe", h.Probe.Command, ""},
	} {
		name := "hook " + hook.name
		switch {
		case len(hook.command) > 0:
			path, err := exec.LookPath(hook.command[0])
			found = append(found, is(name, err, path))
		case hook.without != "":
			found = append(found, finding{Name: name, Result: warning, Detail: "not set: " + hook.without})
		}
	}
	return found
}

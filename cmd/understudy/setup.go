package main

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/backup/retention"
	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/conformance"
	"github.com/understudy-ha/understudy/cmd/understudy/settings"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/account"
	"github.com/understudy-ha/understudy/ha/agent"
	"github.com/understudy-ha/understudy/ha/api"
	"github.com/understudy-ha/understudy/ha/console"
	"github.com/understudy-ha/understudy/ha/datadir"
)

// isNew reports whether this host has to be set up before an agent can run:
// there is no bucket or no key, or the data folder belongs to no cluster.
func (a *app) isNew() bool {
	if a.set.Bucket == "" || !a.set.HasKey() {
		return true
	}
	j, err := datadir.ReadJournal(a.set.DataDir)
	return err == nil && j == nil // one that cannot be read is for the agent to tell
}

// lookEvery is how often a host that waits looks whether a command has set it
// up.
const lookEvery = time.Second

// setUp serves the set-up until this host belongs to a cluster, by what is
// entered there or by understudy init or join, or until ctx is done.
func (a *app) setUp(ctx context.Context, systemd *manager) error {
	if err := a.set.NeedInstance(); err != nil {
		return err
	}
	if err := os.MkdirAll(a.set.DataDir, 0o700); err != nil {
		return fmt.Errorf("make data folder: %w", err)
	}
	code := oneTimeCode()
	s := &setup{app: a, done: make(chan struct{})}
	server, err := api.ListenSetup(ctx, api.SetupConfig{
		Setup: s, Code: strings.ReplaceAll(code, "-", ""), Pages: console.SetupHandler(),
		Server: api.ServerConfig{
			Listen: a.set.Listen, TLSCert: a.set.TLSCert, TLSKey: a.set.TLSKey, SocketPath: a.set.Socket(), URL: a.set.URL, Proxies: a.set.Proxies,
			Version: version(), Logger: a.logger(),
		},
	})
	if err != nil {
		return err
	}
	a.logger().WarnContext(ctx, "this host belongs to no cluster yet: set it up in a browser, with the one-time code, or by understudy init or understudy join",
		slog.String("page", page(a.set, server.Addr())), slog.String("code", code))
	for _, problem := range s.problems() {
		a.logger().WarnContext(ctx, problem)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go systemd.idle(ctx)
	go func() {
		defer cancel()
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		for a.isNew() {
			select {
			case <-ctx.Done():
				return
			case <-s.done:
				return
			case <-tick.C:
			}
		}
	}()
	if err := server.Serve(ctx); err != nil {
		return err
	}
	return a.readSettings()
}

// page is where the set-up is, as far as this host can tell.
func page(s *settings.Host, addr net.Addr) string {
	scheme := "http"
	if s.TLSCert != "" {
		scheme = "https"
	}
	if s.URL != "" {
		return s.URL
	}
	if addr == nil {
		return ""
	}
	return scheme + "://" + addr.String()
}

// oneTimeCode is made to be typed: 60 bits, without characters that look alike.
func oneTimeCode() string {
	raw := make([]byte, 8)
	_, _ = rand.Read(raw) // never fails: crypto/rand says so
	text := base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").EncodeToString(raw)
	return text[:4] + "-" + text[4:8] + "-" + text[8:12]
}

// setup is this host, as the set-up's page sees it.
type setup struct {
	app *app

	mu       sync.Mutex // one creation at a time
	done     chan struct{}
	finished bool
}

// State says what flags and environment tell.
func (s *setup) State(context.Context) api.SetupState {
	set := s.app.set
	state := api.SetupState{
		Instance: set.Instance, InstanceFixed: set.Given("instance"),
		URL: set.URL, URLFixed: set.Given("url"), Bucket: set.Bucket, BucketFixed: set.Given("bucket"),
		Problems: s.problems(),
	}
	if set.HasKey() {
		state.KeyFixed = set.Given("key") || set.Given("key-file")
		if ring, err := set.Ring(); err == nil {
			state.KeyID = strings.Join(ring.IDs(), ", ")
		} else {
			state.Problems = append(state.Problems, err.Error())
		}
	}
	return state
}

// problems is what cannot be mended on the page.
func (s *setup) problems() []string {
	if _, err := s.app.set.File(keepOutput); err != nil {
		return []string{fmt.Sprintf("What is to be backed up is not known yet; mend this on the host, and go on here: %v", err)}
	}
	return nil
}

// invalidInput marks what was entered wrongly.
func invalidInput(what string, err error) error {
	return fmt.Errorf("%w: %s: %w", ha.ErrInvalid, what, err)
}

// proofTimeout bounds the proof of a bucket.
const proofTimeout = 30 * time.Second

// ProveBucket finds out whether a bucket keeps the promises that promotions rest
// on.
func (s *setup) ProveBucket(ctx context.Context, bucket string) (api.BucketProof, error) {
	set := *s.app.set
	if err := set.SetBucket(bucket); err != nil {
		return api.BucketProof{}, invalidInput("bucket", err)
	}
	ctx, cancel := context.WithTimeout(ctx, proofTimeout)
	defer cancel()
	store, err := openBucket(ctx, &set, s.app.logger())
	if err != nil {
		return api.BucketProof{Detail: err.Error()}, nil
	}
	report, err := conformance.Safety(ctx, conformance.Config{Store: store, Random: rand.Reader})
	if err == nil {
		err = report.Err()
	}
	if err != nil {
		return api.BucketProof{Detail: sumUp(report).Detail + ": " + err.Error()}, nil
	}
	_, err = store.Stat(ctx, ha.ClusterKey)
	if err != nil && !errors.Is(err, blobstore.ErrNotFound) {
		return api.BucketProof{Detail: err.Error()}, nil
	}
	return api.BucketProof{OK: true, Detail: sumUp(report).Detail, Cluster: err == nil}, nil
}

// NewKey makes a key, and keeps it nowhere.
func (*setup) NewKey() (api.SetupKey, error) {
	k, err := seal.Generate(rand.Reader)
	if err != nil {
		return api.SetupKey{}, fmt.Errorf("generate key: %w", err)
	}
	return api.SetupKey{ID: k.ID(), Key: k.Line()}, nil
}

// CheckKey finds typing mistakes.
func (*setup) CheckKey(line string) (string, error) {
	k, err := seal.ParseKey(line)
	if err != nil {
		return "", err
	}
	return k.ID(), nil
}

// Create does what understudy init or join would do with what was entered, and
// keeps it. Nothing is kept of an attempt that has failed.
func (s *setup) Create(ctx context.Context, req api.SetupRequest) (api.SetupDone, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.finished {
		return api.SetupDone{}, &ha.Refusal{Reason: "this host has just been set up"}
	}
	entered, err := s.enter(req)
	if err != nil {
		return api.SetupDone{}, err
	}
	cfg, c, err := entered.instance(ctx)
	if err != nil {
		return api.SetupDone{}, invalidInput("configuration", err)
	}
	done := api.SetupDone{Role: req.Role}
	kept := entered.set.Kept(s.app.set)
	forget := kept.Forgets(entered.set.DataDir)
	// What is entered is kept before the cluster can know this host: a crash in
	// between must not lose the only copy of a key.
	if err := kept.Keep(entered.set.DataDir, cfg.Ring); err != nil {
		return done, err
	}
	if req.Role == ha.RoleActive {
		done.Cluster, done.Notes, err = makeCluster(ctx, cfg, req)
	} else {
		var joined agent.Joined
		joined, err = agent.Join(ctx, cfg, agent.Joining{})
		done.Cluster = joined.Cluster
		if joined.Settled != nil {
			done.Notes = append(done.Notes, joined.Settled.String())
		}
		if joined.Unkept != "" {
			done.Notes = append(done.Notes, agent.UnkeptText(joined.Unkept))
		}
	}
	if err != nil {
		return done, errors.Join(err, forget())
	}
	for _, found := range bootChecks(ctx, c.Hooks) {
		if found.Result != good {
			done.Notes = append(done.Notes, found.Detail)
		}
	}
	s.finished = true
	close(s.done)
	return done, nil
}

// enter gives an app with what was entered in its settings. What is fixed
// stays.
func (s *setup) enter(req api.SetupRequest) (*app, error) {
	entered, set := *s.app, *s.app.set
	entered.set = &set
	for _, v := range []struct {
		name, value string
		set         func(string) error
	}{
		{"bucket", req.Bucket, set.SetBucket}, {"instance", req.Instance, set.SetInstance}, {"url", strings.TrimSpace(req.URL), set.SetURL},
	} {
		if set.Given(v.name) || v.value == "" {
			continue
		}
		if err := v.set(v.value); err != nil {
			return nil, invalidInput(v.name, err)
		}
	}
	if req.Key != "" && !(set.HasKey() && (set.Given("key") || set.Given("key-file"))) {
		k, err := seal.ParseKey(req.Key)
		if err != nil {
			return nil, invalidInput("key", err)
		}
		set.Key, set.KeyFile = settings.Secret(k.Line()), ""
	}
	if !set.HasKey() {
		return nil, invalidInput("key", errors.New("generate a key, or paste the cluster's"))
	}
	return &entered, nil
}

// makeCluster makes the cluster with its first user.
func makeCluster(ctx context.Context, cfg agent.Config, req api.SetupRequest) (cluster string, notes []string, err error) {
	shared := firstConfig(cfg)
	if req.Frequency != "" {
		d, err := agent.ParseDuration(req.Frequency)
		if err != nil {
			return "", nil, invalidInput("frequency", err)
		}
		shared.Frequency = ha.Duration(d)
	}
	if err := account.Check(req.User, account.Admin); err != nil {
		return "", nil, err
	}
	hash, err := account.NewPasswords().Hash(ctx, req.Password)
	if err != nil {
		return "", nil, err
	}
	cluster, err = agent.Init(ctx, cfg, shared, account.User{Name: req.User, Role: account.Admin, Password: hash})
	if err != nil {
		return "", nil, err
	}
	_, expiry := firstRules(ctx, cfg.Lifecycle, retention.Policy{Keep: time.Duration(shared.Retention), Reuse: time.Duration(shared.ReuseWindow)})
	return cluster, []string{expiry}, nil
}

// Package setup serves a host that belongs to no cluster yet, until it is set up: by what
// is entered on its page, or by a command.
package setup

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
	"github.com/understudy-ha/understudy/cmd/understudy/buckets"
	"github.com/understudy-ha/understudy/cmd/understudy/doctor"
	"github.com/understudy-ha/understudy/cmd/understudy/instance"
	"github.com/understudy-ha/understudy/cmd/understudy/settings"
	"github.com/understudy-ha/understudy/cmd/understudy/systemd"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/account"
	"github.com/understudy-ha/understudy/ha/agent"
	"github.com/understudy-ha/understudy/ha/api"
	"github.com/understudy-ha/understudy/ha/application"
	"github.com/understudy-ha/understudy/ha/console"
	"github.com/understudy-ha/understudy/ha/datadir"
	"github.com/understudy-ha/understudy/ha/membership"
	"github.com/understudy-ha/understudy/ha/report"
)

// IsNew reports whether this host has to be set up before an agent can run:
// there is no bucket or no key, or the data folder belongs to no cluster.
func IsNew(set *settings.Host) bool {
	if set.Bucket == "" || !set.HasKey() {
		return true
	}
	j, err := datadir.ReadJournal(set.DataDir)
	return err == nil && j == nil // one that cannot be read is for the agent to tell
}

// lookEvery is how often a host that waits looks whether a command has set it
// up.
const lookEvery = time.Second

// Serve serves the set-up until this host belongs to a cluster, by what is
// entered there or by understudy init or join, or until ctx is done.
func Serve(ctx context.Context, m instance.Maker, manager *systemd.Manager) error {
	if err := m.Set.NeedInstance(); err != nil {
		return err
	}
	if err := os.MkdirAll(m.Set.DataDir, 0o700); err != nil {
		return fmt.Errorf("make data folder: %w", err)
	}
	code := OneTimeCode()
	s := &host{Maker: m, done: make(chan struct{})}
	server, err := api.ListenSetup(ctx, api.SetupConfig{
		Setup: s, Code: strings.ReplaceAll(code, "-", ""), Pages: console.SetupHandler(),
		Server: api.ServerConfig{
			Listen: m.Set.Listen, TLSCert: m.Set.TLSCert, TLSKey: m.Set.TLSKey, SocketPath: m.Set.Socket(), URL: m.Set.URL, Proxies: m.Set.Proxies,
			Version: m.Version, Logger: m.Log,
		},
	})
	if err != nil {
		return err
	}
	m.Log.WarnContext(ctx, "this host belongs to no cluster yet: set it up in a browser, with the one-time code, or by understudy init or understudy join",
		slog.String("page", page(m.Set, server.Addr())), slog.String("code", code))
	for _, problem := range s.problems() {
		m.Log.WarnContext(ctx, problem)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go manager.Idle(ctx)
	go func() {
		defer cancel()
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		for IsNew(m.Set) {
			select {
			case <-ctx.Done():
				return
			case <-s.done:
				return
			case <-tick.C:
			}
		}
	}()
	return server.Serve(ctx)
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

// OneTimeCode is made to be typed: 60 bits, without characters that look alike.
func OneTimeCode() string {
	raw := make([]byte, 8)
	_, _ = rand.Read(raw) // never fails: crypto/rand says so
	text := base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").EncodeToString(raw)
	return text[:4] + "-" + text[4:8] + "-" + text[8:12]
}

// host is this host, as the set-up's page sees it.
type host struct {
	instance.Maker

	mu       sync.Mutex // one creation at a time
	done     chan struct{}
	finished bool
}

// State says what flags and environment tell.
func (s *host) State(context.Context) api.SetupState {
	set := s.Set
	state := api.SetupState{
		Instance: set.Instance, InstanceFixed: set.Given("instance"),
		URL: set.URL, URLFixed: set.Given("url"), Bucket: set.Bucket, BucketFixed: set.Given("bucket"),
		Config: set.Config,
	}
	if file, err := s.Set.File(s.KeepOutput); err != nil {
		state.Problems = s.problems()
	} else {
		protects := report.ProtectionOf(application.Setup{Sources: file.Sources, Hooks: file.Hooks})
		state.Protects = &protects
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
func (s *host) problems() []string {
	if _, err := s.Set.File(s.KeepOutput); err != nil {
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
func (s *host) ProveBucket(ctx context.Context, bucket string) (api.BucketProof, error) {
	set := *s.Set
	if err := set.SetBucket(bucket); err != nil {
		return api.BucketProof{}, invalidInput("bucket", err)
	}
	ctx, cancel := context.WithTimeout(ctx, proofTimeout)
	defer cancel()
	store, err := buckets.Open(ctx, &set, s.Log)
	if err != nil {
		return api.BucketProof{Detail: err.Error()}, nil
	}
	report, err := conformance.Safety(ctx, conformance.Config{Store: store, Random: rand.Reader})
	if err == nil {
		err = report.Err()
	}
	if err != nil {
		return api.BucketProof{Detail: doctor.SumUp(report).Detail + ": " + err.Error()}, nil
	}
	_, err = store.Stat(ctx, ha.ClusterKey)
	if err != nil && !errors.Is(err, blobstore.ErrNotFound) {
		return api.BucketProof{Detail: err.Error()}, nil
	}
	return api.BucketProof{OK: true, Detail: doctor.SumUp(report).Detail, Cluster: err == nil}, nil
}

// NewKey makes a key, and keeps it nowhere.
func (*host) NewKey() (api.SetupKey, error) {
	k, err := seal.Generate(rand.Reader)
	if err != nil {
		return api.SetupKey{}, fmt.Errorf("generate key: %w", err)
	}
	return api.SetupKey{ID: k.ID(), Key: k.Line()}, nil
}

// CheckKey finds typing mistakes.
func (*host) CheckKey(line string) (string, error) {
	k, err := seal.ParseKey(line)
	if err != nil {
		return "", err
	}
	return k.ID(), nil
}

// Create does what understudy init or join would do with what was entered, and
// keeps it. Nothing is kept of an attempt that has failed.
func (s *host) Create(ctx context.Context, req api.SetupRequest) (api.SetupDone, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.finished {
		return api.SetupDone{}, &ha.Refusal{Reason: "this host has just been set up"}
	}
	entered, err := s.enter(req)
	if err != nil {
		return api.SetupDone{}, err
	}
	cfg, c, err := entered.Config(ctx)
	if err != nil {
		return api.SetupDone{}, invalidInput("configuration", err)
	}
	done := api.SetupDone{Role: req.Role}
	kept := entered.Set.Kept(s.Set)
	forget := kept.Forgets(entered.Set.DataDir)
	// What is entered is kept before the cluster can know this host: a crash in
	// between must not lose the only copy of a key.
	if err := kept.Keep(entered.Set.DataDir, cfg.Ring); err != nil {
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
			done.Notes = append(done.Notes, membership.UnkeptText(joined.Unkept))
		}
	}
	if err != nil {
		return done, errors.Join(err, forget())
	}
	for _, found := range doctor.Boot(ctx, c.Hooks) {
		if found.Result != doctor.Good {
			done.Notes = append(done.Notes, found.Detail)
		}
	}
	done.Protects = report.ProtectionOf(application.Setup{Sources: c.Sources, Hooks: c.Hooks})
	done.Place = api.Place{Bucket: entered.Set.Bucket, KeyFile: kept.KeyFile, Config: entered.Set.Config}
	if done.Place.KeyFile == "" {
		done.Place.KeyFile = s.Set.KeyFile
	}
	s.finished = true
	close(s.done)
	return done, nil
}

// enter returns a host with what was entered in its settings. What is fixed
// stays.
func (s *host) enter(req api.SetupRequest) (instance.Maker, error) {
	entered, set := s.Maker, *s.Set
	entered.Set = &set
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
			return entered, invalidInput(v.name, err)
		}
	}
	if req.Key != "" && !(set.HasKey() && (set.Given("key") || set.Given("key-file"))) {
		k, err := seal.ParseKey(req.Key)
		if err != nil {
			return entered, invalidInput("key", err)
		}
		set.Key, set.KeyFile = settings.Secret(k.Line()), ""
	}
	if !set.HasKey() {
		return entered, invalidInput("key", errors.New("generate a key, or paste the cluster's"))
	}
	return entered, nil
}

// makeCluster makes the cluster with its first user.
func makeCluster(ctx context.Context, cfg agent.Config, req api.SetupRequest) (cluster string, notes []string, err error) {
	shared := instance.SharedAtFirst(cfg)
	if req.Frequency != "" {
		d, err := ha.ParseDuration(req.Frequency)
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
	_, expiry := buckets.FirstRules(ctx, cfg.Lifecycle, retention.Policy{Keep: time.Duration(shared.Retention), Reuse: time.Duration(shared.ReuseWindow)})
	return cluster, []string{expiry}, nil
}

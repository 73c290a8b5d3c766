package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"github.com/understudy-ha/understudy/ha/client"
)

// envPrefix begins the name of each setting of understudy's in the environment.
const envPrefix = "UNDERSTUDY_"

// stage is all that the story needs: a folder with the bucket, the key,
// the ledger and three hosts. close leaves nothing of it.
type stage struct {
	dir     string
	made    bool // the folder did not exist before
	keep    bool
	key     string
	ledger  ledger
	hosts   []*host
	a, b, c *host
	// lifeline is locked as long as this process lives; the applications, which
	// belong to nobody, end without it.
	lifeline *flock.Flock
}

// newStage makes the folders and finds the ports.
func newStage(ctx context.Context, o Options) (*stage, error) {
	dir, made, err := workDir(o.Dir)
	if err != nil {
		return nil, err
	}
	s := &stage{
		dir: dir, made: made, keep: o.Keep,
		key: filepath.Join(dir, "key"), ledger: ledger(filepath.Join(dir, "ledger")),
		lifeline: flock.New(filepath.Join(dir, "lifeline")),
	}
	if err := s.build(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("set the stage in %s: %w", dir, err), s.close(ctx))
	}
	return s, nil
}

// workDir gives the folder to work in, as an absolute path, and whether it was
// made for this.
func workDir(wanted string) (dir string, made bool, err error) {
	if wanted == "" {
		dir, err = os.MkdirTemp("", "understudy-demo-")
		if err != nil {
			return "", false, fmt.Errorf("make a folder: %w", err)
		}
		return dir, true, nil
	}
	dir, err = filepath.Abs(wanted)
	if err != nil {
		return "", false, fmt.Errorf("resolve %s: %w", wanted, err)
	}
	there, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		made = true
	case err != nil:
		return "", false, fmt.Errorf("look into %s: %w", dir, err)
	case len(there) > 0:
		return "", false, fmt.Errorf("%w: %s; name an empty or a new one", ErrNotEmpty, dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", false, fmt.Errorf("make a folder: %w", err)
	}
	return dir, made, nil
}

func (s *stage) build(ctx context.Context) error {
	if locked, err := s.lifeline.TryLock(); err != nil || !locked {
		return errors.Join(errors.New("lock the lifeline"), err)
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own program: %w", err)
	}
	names := []string{"host-a", "host-b", "host-c"}
	addresses, err := freeAddresses(ctx, len(names))
	if err != nil {
		return err
	}
	for i, name := range names {
		h, err := s.newHost(name, program, addresses[i])
		if err != nil {
			return err
		}
		for _, dir := range []string{filepath.Join(h.data(), "uploads"), h.path("agent")} {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return fmt.Errorf("make folder: %w", err)
			}
		}
		if err := errors.Join(h.writeConfig(), h.writeEnvironment()); err != nil {
			return err
		}
		s.hosts = append(s.hosts, h)
	}
	s.a, s.b, s.c = s.hosts[0], s.hosts[1], s.hosts[2]
	return os.Mkdir(s.bucket(), 0o700)
}

func (s *stage) bucket() string { return filepath.Join(s.dir, "bucket") }

func (s *stage) newHost(name, program, address string) (h *host, err error) {
	h = &host{name: name, dir: filepath.Join(s.dir, name), program: program, address: address}
	h.app = []string{
		"--data=" + h.data(), "--run-dir=" + h.path("run"), "--ledger=" + string(s.ledger),
		"--interval=10ms", "--lifeline=" + s.lifeline.Path(),
	}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, envPrefix) {
			h.env = append(h.env, v)
		}
	}
	h.env = append(h.env,
		"UNDERSTUDY_BUCKET="+(&url.URL{Scheme: "file", Path: s.bucket()}).String(),
		"UNDERSTUDY_KEY_FILE="+s.key,
		"UNDERSTUDY_INSTANCE="+name,
		"UNDERSTUDY_LISTEN="+address,
		"UNDERSTUDY_URL="+h.url(),
		"UNDERSTUDY_DATA_DIR="+h.path("agent"),
		"UNDERSTUDY_CONFIG="+h.path("understudy.yaml"),
		"UNDERSTUDY_POLL=1s",
		"UNDERSTUDY_ENVIRONMENT_FILE=none", // of the machine
	)
	h.api, err = client.New(filepath.Join(h.path("agent"), "agent.sock"))
	return h, err
}

func (h *host) url() string { return "http://" + h.address }

// writeEnvironment writes the host's settings for a shell to read.
func (h *host) writeEnvironment() error {
	var text bytes.Buffer
	for _, v := range h.env {
		if name, value, _ := strings.Cut(v, "="); strings.HasPrefix(name, envPrefix) {
			fmt.Fprintf(&text, "export %s='%s'\n", name, strings.ReplaceAll(value, "'", `'\''`))
		}
	}
	if err := os.WriteFile(h.path("env"), text.Bytes(), 0o600); err != nil {
		return fmt.Errorf("write environment of %s: %w", h.name, err)
	}
	return nil
}

// freeAddresses gives different addresses that nobody listens on just now.
func freeAddresses(ctx context.Context, n int) ([]string, error) {
	var addresses []string
	for range n {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer l.Close()
		addresses = append(addresses, l.Addr().String())
	}
	return addresses, nil
}

// closeWait bounds the end of the applications.
const closeWait = 30 * time.Second

// close stops agents and applications and removes the files. It works when ctx
// has ended, too.
func (s *stage) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWait)
	defer cancel()
	var wg sync.WaitGroup
	for _, h := range s.hosts {
		wg.Go(func() { h.agent.stop() }) // first: its hooks start the application
	}
	wg.Wait()
	errs := []error{s.lifeline.Close()} // no application starts any more
	for _, h := range s.hosts {
		errs = append(errs, h.runApp(ctx, "stop"))
	}
	if !s.keep {
		errs = append(errs, s.remove())
	}
	return errors.Join(errs...)
}

// remove removes the files, and the folder itself if it was made for them.
func (s *stage) remove() error {
	if s.made {
		return os.RemoveAll(s.dir)
	}
	entries, err := os.ReadDir(s.dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(s.dir, e.Name())))
	}
	return err
}

// user is who signs in to the consoles.
const user = "demo"

// addUser lets somebody sign in to the console of every host, when host-c is the
// active.
func (s *stage) addUser(ctx context.Context, password string) error {
	file := filepath.Join(s.dir, "console-password")
	if err := os.WriteFile(file, []byte(password), 0o600); err != nil {
		return fmt.Errorf("write the console's password: %w", err)
	}
	return s.c.do(ctx, "users", "add", user, "--password-file", file)
}

package sourcetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
)

// The application's user owns the folder that a source lies in, and wants root to
// write, read, give away or delete something elsewhere.

// Estate is the application's folder, home/app, and a folder outside of it that is
// root's alone.
type Estate struct {
	t       *testing.T
	home    string
	App     string
	outside string
	look    func() string
	before  string
}

const marker = "what only root may read"

// NewEstate makes an estate for a test.
func NewEstate(t *testing.T) *Estate {
	t.Helper()
	root := t.TempDir()
	Must(t, os.Chmod(filepath.Dir(root), 0o755))
	e := &Estate{t: t, home: filepath.Join(root, "home")}
	e.App = filepath.Join(e.home, "app")
	e.outside, e.look = Bait(t, root)
	for _, dir := range []string{"files", "volume", "deep", "snapshots"} {
		Must(t, os.Mkdir(filepath.Join(e.outside, dir), 0o700))
		for _, name := range []string{"f0", "plain", "conf"} {
			Must(t, os.WriteFile(filepath.Join(e.outside, dir, name), []byte(marker), 0o600))
		}
	}
	Must(t, os.WriteFile(filepath.Join(e.outside, "conf"), []byte(marker), 0o600))
	db := NewBank(t, filepath.Join(e.outside, "a.db"), "wal", 3)
	_, err := db.Exec("CREATE TABLE secret (x); INSERT INTO secret VALUES ('" + marker + "')")
	Must(t, err)
	Must(t, db.Close())
	Must(t, os.MkdirAll(e.App, 0o755))
	for _, dir := range []string{e.home, e.App} {
		Must(t, os.Chown(dir, Nobody, Nobody))
	}
	e.before = e.look()
	return e
}

// check fails if something outside changed, or came in.
func (e *Estate) check(when string) {
	e.t.Helper()
	if now := e.look(); now != e.before {
		e.t.Fatalf("%s: outside was\n%s\nand is\n%s", when, e.before, now)
	}
	for _, path := range holding(e.home) {
		e.t.Fatalf("%s: %s holds what was outside", when, path)
	}
}

// holding lists the files below a folder that hold what only root may read.
func holding(dir string) (found []string) {
	d, err := fsx.Open(dir)
	if err != nil {
		return nil
	}
	return holdingIn(d)
}

// holdingIn lets go of the folder. What fails there is somebody's work.
func holdingIn(d *fsx.Dir) (found []string) {
	defer d.Close()
	names, _ := d.Names()
	for _, name := range names {
		if sub, err := d.OpenDir(name); err == nil {
			found = append(found, holdingIn(sub)...)
		} else if f, err := d.Open(name, unix.O_RDONLY); err == nil {
			if contains(f, []byte(marker)) {
				found = append(found, d.Path(name))
			}
			_ = f.Close()
		}
	}
	return found
}

// contains tells whether a file contains a text. It reads in pieces: a data folder of a
// server has large files, and is looked through after each operation.
func contains(r io.Reader, text []byte) bool {
	buf, kept := make([]byte, 64<<10), 0
	for {
		n, err := r.Read(buf[kept:])
		n += kept
		if bytes.Contains(buf[:n], text) {
			return true
		}
		if err != nil {
			return false
		}
		kept = min(n, len(text)-1) // a text may lie across two pieces
		copy(buf, buf[n-kept:n])
	}
}

// Prey is a source in an estate, and two backups of it.
type Prey struct {
	Src    source.Source
	A, B   source.Entry
	ReadA  *pack.Reader
	ReadB  *pack.Reader
	Target string
	Mount  bool                            // it is a mount point
	Rounds int                             // of operations, while somebody works against them
	Dumped source.Source                   // what its dumps are made of; nil: itself
	Tidy   func()                          // what else is to be tidied up; may be nil
	Fault  func(f func(step string) error) // has f called before each step of swaps and stages
}

// Live puts the first state into place.
func (p *Prey) Live(t *testing.T) {
	t.Helper()
	Must(t, p.Src.Stage(t.Context(), p.ReadA, p.A))
	Must(t, p.Src.Swap(t.Context()))
	Must(t, p.Src.Discard(t.Context()))
	MustSweep(t, p.Src.(source.Sweeper))
}

// Op is something that an agent does with a source.
type Op struct {
	Name string
	Do   func(context.Context) error
}

// ops are all of them, in an order that makes sense where nobody disturbs it.
func (p *Prey) ops(t *testing.T) []Op {
	stage := Op{"stage", func(ctx context.Context) error { return p.Src.Stage(ctx, p.ReadA, p.A) }}
	advance := Op{"advance", func(ctx context.Context) error {
		if a, ok := p.Src.(source.Advancer); ok {
			return a.Advance(ctx, p.ReadB, p.A, p.B)
		}
		return p.Src.Stage(ctx, p.ReadB, p.B)
	}}
	swap := Op{"swap", p.Src.Swap}
	return []Op{
		stage, {"look", func(ctx context.Context) error { _, err := p.Src.Fingerprint(ctx); return err }},
		advance, {"inspect", p.inspect}, swap, {"swap back", p.Src.SwapBack},
		stage, swap, {"reach", func(ctx context.Context) error { _, err := p.Src.Reach(ctx); return err }}, {"discard", p.Src.Discard}, {"sweep", func(ctx context.Context) error { _, err := p.Src.(source.Sweeper).Sweep(ctx); return err }},
		{"restore check", func(ctx context.Context) error { return source.CheckRestore(ctx, p.Src) }},
		{"export", func(ctx context.Context) error {
			return source.Export(ctx, p.ReadA, p.A, filepath.Join(filepath.Dir(p.Target), "exported"))
		}},
		{"dump", func(ctx context.Context) error { return p.dump(ctx, t) }},
	}
}

func (p *Prey) inspect(ctx context.Context) error {
	if i, ok := p.Src.(source.Inspector); ok {
		_, err := i.Inspect(ctx)
		return err
	}
	return p.Src.Check(ctx)
}

// dump makes a backup, and looks that nothing in it is from outside.
func (p *Prey) dump(ctx context.Context, t *testing.T) error {
	src := p.Src
	if p.Dumped != nil {
		src = p.Dumped
	}
	v := NewVault(t)
	e, _, err := v.TryBackup(t.Context(), src)
	if err != nil {
		return err
	}
	to := filepath.Join(t.TempDir(), "copy")
	if err := source.Export(ctx, v.Reader(), e, to); err != nil {
		t.Errorf("a backup cannot be restored: %v", err)
	}
	if found := holding(to); len(found) > 0 {
		t.Errorf("a backup has what was outside: %v", found)
	}
	return nil
}

// Promptly runs an operation, which must not hang.
func Promptly(t *testing.T, o Op) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- o.Do(t.Context()) }()
	timer := time.NewTimer(2 * time.Minute)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		stacks := make([]byte, 1<<20)
		t.Fatalf("%s hangs:\n%s", o.Name, stacks[:runtime.Stack(stacks, true)])
		return nil
	}
}

// tidy removes what the user has left, but for the mount point.
func (e *Estate) tidy(p *Prey) {
	e.t.Helper()
	if _, err := os.Readlink(e.App); err == nil {
		Must(e.t, unix.Renameat2(unix.AT_FDCWD, e.App, unix.AT_FDCWD, e.App+Away, unix.RENAME_EXCHANGE))
	}
	keep := "volume"
	for _, dir := range []string{e.App, filepath.Join(e.App, keep)} {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		Must(e.t, err)
		for _, entry := range entries {
			if entry.Name() != keep {
				Must(e.t, fsx.RemoveAll(e.t.Context(), Held(e.t, dir), entry.Name()))
			}
		}
	}
	if p.Tidy != nil {
		p.Tidy()
	}
}

// attack starts the user's process; the result ends it, and says how much it did.
func (e *Estate) attack() (end func() string) {
	e.t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestHostileUserProcess$", "-test.v")
	cmd.Env = append(os.Environ(), hostileHome+"="+e.home, hostileOutside+"="+e.outside)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: Nobody, Gid: Nobody}, Pdeathsig: syscall.SIGKILL}
	cmd.Dir = "/"
	stdin, err := cmd.StdinPipe()
	Must(e.t, err)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	Must(e.t, cmd.Start())
	e.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return func() string {
		e.t.Helper()
		_ = stdin.Close()
		if err := cmd.Wait(); err != nil {
			e.t.Fatalf("the user's process: %v: %s", err, said.String())
		}
		_, moves, _ := strings.Cut(said.String(), "moves: ")
		moves, _, _ = strings.Cut(moves, "\n")
		if moves == "" || moves == "0" {
			e.t.Fatalf("the user did nothing: %s", said.String())
		}
		return moves
	}
}

const (
	hostileHome    = "UNDERSTUDY_TEST_HOSTILE_HOME"
	hostileOutside = "UNDERSTUDY_TEST_HOSTILE_OUTSIDE"
	// Away is behind the name of what was moved out of the way.
	Away = ".away"
)

// RunHostileUser is what a test binary's TestHostileUserProcess does: it is the user's
// process, when the binary is started as one.
func RunHostileUser() {
	home := os.Getenv(hostileHome)
	if home == "" {
		return
	}
	var over atomic.Bool
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		over.Store(true)
	}()
	u := &hostileUser{app: filepath.Join(home, "app"), outside: os.Getenv(hostileOutside), rand: rand.New(rand.NewPCG(1, 12))}
	for !over.Load() {
		u.move()
	}
	fmt.Printf("moves: %d\n", u.moves)
}

type hostileUser struct {
	app, outside string
	rand         *rand.Rand
	moves        int
}

// move does one thing; what fails is of no interest.
func (u *hostileUser) move() {
	u.moves++
	in := u.app
	switch u.rand.IntN(8) {
	case 0, 1: // the folder itself, for a moment
		_ = os.Symlink(u.outside, u.app+Away)
		for range 2 {
			_ = unix.Renameat2(unix.AT_FDCWD, u.app, unix.AT_FDCWD, u.app+Away, unix.RENAME_EXCHANGE)
			runtime.Gosched()
		}
		return
	case 2, 3: // something deeper
		if entries, err := os.ReadDir(u.app); err == nil && len(entries) > 0 {
			in = filepath.Join(in, entries[u.rand.IntN(len(entries))].Name())
		}
	}
	entries, err := os.ReadDir(in)
	if err != nil || len(entries) == 0 {
		return
	}
	if len(entries) > 60 {
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), "x-") {
				_ = os.RemoveAll(filepath.Join(in, e.Name()))
			}
		}
	}
	name := entries[u.rand.IntN(len(entries))].Name()
	if u.rand.IntN(3) == 0 {
		bases := []string{"files", "conf", "a.db", "exported"}
		suffixes := []string{"staging", "staged", "replaced", "dropped-1", "delta", "list", "listing", "marks", "marking", "swap.json", "aside", "absent", "partial", "staged-wal"}
		name = helperName(bases[u.rand.IntN(len(bases))], suffixes[u.rand.IntN(len(suffixes))])
	}
	at := filepath.Join(in, name)
	kept := filepath.Join(in, fmt.Sprintf("x-%d", u.rand.IntN(1000)))
	renamed := os.Rename(at, kept) == nil
	u.plant(at)
	if u.rand.IntN(2) == 0 {
		runtime.Gosched()
		_ = os.Remove(at)
		if renamed {
			_ = os.Rename(kept, at)
		}
	}
}

// plant puts something at a path.
func (u *hostileUser) plant(at string) {
	inside := []string{"", "/secret", "/files", "/volume", "/conf", "/a.db", "/snapshots"}
	to := u.outside + inside[u.rand.IntN(len(inside))]
	switch u.rand.IntN(6) {
	case 0, 1, 2:
		_ = os.Symlink(to, at)
	case 3:
		_ = unix.Mkfifo(at, 0o666)
	case 4:
		_ = os.Link(to, at)
	default:
		_ = os.Mkdir(at, 0o777)
	}
}

// LeadsRootNowhere has the application's user swap names in a loop while everything is
// done with a source that an agent does. Whatever comes of it, nothing outside is
// touched, nothing from there comes in, and nothing hangs. When it is over,
// everything works.
func LeadsRootNowhere(t *testing.T, make func(*testing.T, *Estate) *Prey) {
	t.Helper()
	NeedRoot(t)
	e := NewEstate(t)
	p := make(t, e)
	p.Live(t)
	worked, refused := 0, map[string]int{}
	end := e.attack()
	for range p.Rounds {
		for _, o := range p.ops(t) {
			if err := Promptly(t, o); err == nil {
				worked++
			} else {
				refused[o.Name]++
			}
			e.check(o.Name)
		}
	}
	moves := end()
	t.Logf("%d operations worked, refused were %v; %s moves against them", worked, refused, moves)
	e.tidy(p)
	e.check("afterwards")
	p.Live(t)
	for _, o := range p.ops(t) {
		if err := Promptly(t, o); err != nil {
			t.Errorf("afterwards %s: %v", o.Name, err)
		}
	}
	e.check("at the end")
}

// HoldsItsDirectory puts a link to elsewhere into the place of the application's folder at
// each step of each operation: it goes on in the folder where it began.
func HoldsItsDirectory(t *testing.T, make func(*testing.T, *Estate) *Prey) {
	t.Helper()
	NeedRoot(t)
	e := NewEstate(t)
	p := make(t, e)
	p.Live(t)
	back := func() {
		if _, err := os.Lstat(e.App + Away); err == nil {
			Must(t, os.Remove(e.App))
			Must(t, os.Rename(e.App+Away, e.App))
		}
	}
	steps := 0
	p.Fault(func(string) error {
		steps++
		if _, err := os.Lstat(e.App + Away); err != nil {
			Must(t, os.Rename(e.App, e.App+Away))
			Must(t, os.Symlink(e.outside, e.App))
		}
		return nil
	})
	for _, o := range p.ops(t) {
		if o.Name == "export" || o.Name == "dump" {
			continue
		}
		if err := Promptly(t, o); err != nil {
			t.Errorf("%s: %v", o.Name, err)
		}
		back()
		e.check(o.Name)
	}
	if steps < 10 {
		t.Errorf("only %d steps", steps)
	}
}

// MindsNoPlants has links, fifos, folders and files lie under every name that an agent
// uses beside a source.
func MindsNoPlants(t *testing.T, make func(*testing.T, *Estate) *Prey) {
	t.Helper()
	NeedRoot(t)
	plants := map[string]func(*Estate, string) error{
		"link to a file":   func(e *Estate, at string) error { return os.Symlink(e.outside+"/secret", at) },
		"link to a folder": func(e *Estate, at string) error { return os.Symlink(e.outside, at) },
		"fifo":             func(_ *Estate, at string) error { return unix.Mkfifo(at, 0o666) },
		"folder":           func(_ *Estate, at string) error { return os.Mkdir(at, 0o777) },
	}
	for what, plant := range plants {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			e := NewEstate(t)
			p := make(t, e)
			p.Live(t)
			name := filepath.Base(p.Target)
			for _, suffix := range []string{"staging", "staged", "delta", "list", "listing", "marks", "marking", "partial"} {
				at := filepath.Join(e.App, helperName(name, suffix))
				Must(t, plant(e, at))
				Must(t, os.Lchown(at, Nobody, Nobody))
			}
			Must(t, plant(e, filepath.Join(e.App, helperName(name, "staged")+"-wal")))
			for _, o := range p.ops(t) {
				if err := Promptly(t, o); err != nil {
					t.Errorf("%s: %v", o.Name, err)
				}
				e.check(o.Name)
			}
		})
	}
}

// FollowsNoForeignLink holds a source to this: a link that the application's user has put into its path
// leads to what is that user's, or nowhere. One of root leads wherever root has it
// lead.
func FollowsNoForeignLink(t *testing.T, make func(*testing.T, *Estate) *Prey) {
	t.Helper()
	NeedRoot(t)
	e := NewEstate(t)
	p := make(t, e)
	Must(t, os.Symlink(filepath.Join(e.outside, filepath.Base(p.Target)), p.Target))
	Must(t, os.Lchown(p.Target, Nobody, Nobody))
	for _, o := range p.ops(t) {
		if o.Name == "export" {
			continue // beside it
		}
		if err := Promptly(t, o); !errors.Is(err, fsx.ErrForeignLink) {
			t.Errorf("%s: %v", o.Name, err)
		}
		e.check(o.Name)
	}
	// To what is theirs.
	theirs := filepath.Join(e.home, "elsewhere")
	Must(t, os.Mkdir(theirs, 0o755))
	Must(t, os.Chown(theirs, Nobody, Nobody))
	Must(t, os.Remove(p.Target))
	Must(t, os.Symlink(filepath.Join(theirs, filepath.Base(p.Target)), p.Target))
	Must(t, os.Lchown(p.Target, Nobody, Nobody))
	p.Live(t)
	if _, err := os.Lstat(filepath.Join(theirs, filepath.Base(p.Target))); err != nil {
		t.Error(err)
	}
	e.check("to what is theirs")
}

// helperName is the name of what an agent makes beside what has a name.
func helperName(name, suffix string) string { return "." + name + ".understudy-" + suffix }

// Bait is a folder beside what is restored, and says how it is.
func Bait(t *testing.T, parent string) (path string, look func() string) {
	t.Helper()
	path = filepath.Join(parent, "outside")
	secret := filepath.Join(path, "secret")
	Must(t, os.Mkdir(path, 0o700))
	Must(t, os.WriteFile(secret, []byte("secret"), 0o600))
	then := time.Unix(1e9, 0)
	Must(t, os.Chtimes(secret, then, then))
	Must(t, os.Chtimes(path, then, then))
	return path, func() string {
		var b strings.Builder
		err := filepath.WalkDir(path, func(p string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			var st unix.Stat_t
			if err := unix.Lstat(p, &st); err != nil {
				return err
			}
			text, _ := os.ReadFile(p)
			fmt.Fprintf(&b, "%s %o %d:%d links %d %d.%d %q\n", p, st.Mode, st.Uid, st.Gid, st.Nlink, st.Mtim.Sec, st.Mtim.Nsec, text)
			return nil
		})
		Must(t, err)
		return b.String()
	}
}

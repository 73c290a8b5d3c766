package source

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
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// The application's user owns the folder that a source lies in, and wants root to
// write, read, give away or delete something elsewhere.

const nobody = 65534

// needRoot fails a test that cannot show anything without root: it has another user
// work against an agent, or makes what belongs to another user.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("the tests run as root: this one has another user")
	}
}

// estate is the application's folder, home/app, and a folder outside of it that is
// root's alone.
type estate struct {
	t       *testing.T
	home    string
	app     string
	outside string
	look    func() string
	before  string
}

const marker = "what only root may read"

func newEstate(t *testing.T) *estate {
	t.Helper()
	root := t.TempDir()
	do(t, os.Chmod(filepath.Dir(root), 0o755))
	e := &estate{t: t, home: filepath.Join(root, "home")}
	e.app = filepath.Join(e.home, "app")
	e.outside, e.look = bait(t, root)
	for _, dir := range []string{"files", "volume", "deep", "snapshots"} {
		do(t, os.Mkdir(filepath.Join(e.outside, dir), 0o700))
		for _, name := range []string{"f0", "plain", "conf"} {
			do(t, os.WriteFile(filepath.Join(e.outside, dir, name), []byte(marker), 0o600))
		}
	}
	do(t, os.WriteFile(filepath.Join(e.outside, "conf"), []byte(marker), 0o600))
	db := newBank(t, filepath.Join(e.outside, "a.db"), "wal", 3)
	_, err := db.Exec("CREATE TABLE secret (x); INSERT INTO secret VALUES ('" + marker + "')")
	must(t, err)
	must(t, db.Close())
	do(t, os.MkdirAll(e.app, 0o755))
	for _, dir := range []string{e.home, e.app} {
		do(t, os.Chown(dir, nobody, nobody))
	}
	e.before = e.look()
	return e
}

// check fails if something outside changed, or came in.
func (e *estate) check(when string) {
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
		if sub, err := d.Folder(name); err == nil {
			found = append(found, holdingIn(sub)...)
		} else if f, err := d.Open(name, unix.O_RDONLY); err == nil {
			if text, _ := io.ReadAll(io.LimitReader(f, 1<<20)); bytes.Contains(text, []byte(marker)) {
				found = append(found, d.Path(name))
			}
			_ = f.Close()
		}
	}
	return found
}

// prey is a source in an estate, and two backups of it.
type prey struct {
	src    Source
	a, b   Entry
	readA  *pack.Reader
	readB  *pack.Reader
	target string
}

// preys make each kind of source that lies in folders of others.
var preys = map[string]func(*testing.T, *estate) *prey{
	"directory": func(t *testing.T, e *estate) *prey {
		g := newGenerations(t)
		return &prey{newTestDirectory(t, filepath.Join(e.app, "files")), g.a, g.b, g.readA, g.readB, filepath.Join(e.app, "files")}
	},
	"mount point": func(t *testing.T, e *estate) *prey {
		g := newGenerations(t)
		target := filepath.Join(e.app, "volume")
		do(t, os.Mkdir(target, 0o755))
		do(t, unix.Mount("understudy", target, "tmpfs", 0, "size=64m"))
		t.Cleanup(func() { do(t, unix.Unmount(target, unix.MNT_DETACH)) })
		do(t, os.Chown(target, nobody, nobody))
		return &prey{newTestDirectory(t, target), g.a, g.b, g.readA, g.readB, target}
	},
	"prometheus": func(t *testing.T, e *estate) *prey {
		g := newGenerations(t)
		g.a.Kind, g.b.Kind = "prometheus", "prometheus"
		target := filepath.Join(e.app, "files")
		src, err := NewPrometheus("metrics", PrometheusConfig{
			URL: "http://127.0.0.1:1", DataDir: target, Stop: []string{"true"}, Start: []string{"true"}, Scratch: t.TempDir(),
		})
		do(t, err)
		return &prey{src, g.a, g.b, g.readA, g.readB, target}
	},
	"file": func(t *testing.T, e *estate) *prey {
		p := &prey{target: filepath.Join(e.app, "conf")}
		from := filepath.Join(t.TempDir(), "conf")
		make := func(path string) *File {
			f, err := NewFile("conf", FileConfig{Path: path, Now: stillness})
			do(t, err)
			return f
		}
		p.src = make(p.target)
		v := newVault(t)
		do(t, os.WriteFile(from, []byte("old"), 0o640))
		do(t, os.Chown(from, nobody, nobody))
		p.a, _ = v.mustBackup(make(from))
		p.readA = v.last()
		do(t, os.WriteFile(from, []byte("newer"), 0o640))
		p.b, _ = v.mustBackup(make(from))
		p.readB = v.last()
		return p
	},
	"sqlite": func(t *testing.T, e *estate) *prey {
		p := &prey{src: newSQLite(t, filepath.Join(e.app, "a.db")), target: filepath.Join(e.app, "a.db")}
		from := filepath.Join(t.TempDir(), "a.db")
		db := newBank(t, from, "wal", 3)
		do(t, os.Chown(from, nobody, nobody))
		v := newVault(t)
		p.a, _ = v.mustBackup(newSQLite(t, from))
		p.readA = v.last()
		must(t, transfer(db, 1, 2))
		p.b, _ = v.mustBackup(newSQLite(t, from))
		p.readB = v.last()
		must(t, db.Close())
		return p
	},
}

// live puts the first state into place.
func (p *prey) live(t *testing.T) {
	t.Helper()
	do(t, p.src.Stage(t.Context(), p.readA, p.a))
	do(t, p.src.Swap(t.Context()))
	do(t, p.src.Discard(t.Context()))
	mustSweep(t, p.src.(Sweeper))
}

// op is something that an agent does with a source.
type op struct {
	name string
	do   func(context.Context) error
}

// ops are all of them, in an order that makes sense where nobody disturbs it.
func (p *prey) ops(t *testing.T) []op {
	stage := op{"stage", func(ctx context.Context) error { return p.src.Stage(ctx, p.readA, p.a) }}
	advance := op{"advance", func(ctx context.Context) error {
		if a, ok := p.src.(Advancer); ok {
			return a.Advance(ctx, p.readB, p.a, p.b)
		}
		return p.src.Stage(ctx, p.readB, p.b)
	}}
	swap := op{"swap", p.src.Swap}
	return []op{
		stage, {"look", func(ctx context.Context) error { _, err := p.src.Seal(ctx); return err }},
		advance, {"inspect", p.inspect}, swap, {"swap back", p.src.SwapBack},
		stage, swap, {"reach", func(ctx context.Context) error { _, err := p.src.Reach(ctx); return err }}, {"discard", p.src.Discard}, {"sweep", func(ctx context.Context) error { _, err := p.src.(Sweeper).Sweep(ctx); return err }},
		{"restore check", func(ctx context.Context) error { return CheckRestore(ctx, p.src) }},
		{"export", func(ctx context.Context) error {
			return Export(ctx, p.readA, p.a, filepath.Join(filepath.Dir(p.target), "exported"))
		}},
		{"dump", func(ctx context.Context) error { return p.dump(ctx, t) }},
	}
}

func (p *prey) inspect(ctx context.Context) error {
	if i, ok := p.src.(Inspector); ok {
		_, err := i.Inspect(ctx)
		return err
	}
	return p.src.Check(ctx)
}

// dump makes a backup, and looks that nothing in it is from outside.
func (p *prey) dump(ctx context.Context, t *testing.T) error {
	src := p.src
	if m, ok := src.(*Prometheus); ok {
		src = m.snapshotTree(p.target)
	}
	v := newVault(t)
	e, _, err := v.backup(src)
	if err != nil {
		return err
	}
	to := filepath.Join(t.TempDir(), "copy")
	if err := Export(ctx, v.last(), e, to); err != nil {
		t.Errorf("a backup cannot be restored: %v", err)
	}
	if found := holding(to); len(found) > 0 {
		t.Errorf("a backup has what was outside: %v", found)
	}
	return nil
}

// promptly runs an operation, which must not hang.
func promptly(t *testing.T, o op) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- o.do(t.Context()) }()
	timer := time.NewTimer(2 * time.Minute)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		stacks := make([]byte, 1<<20)
		t.Fatalf("%s hangs:\n%s", o.name, stacks[:runtime.Stack(stacks, true)])
		return nil
	}
}

// TestAHostileUserLeadsRootNowhere has the application's user swap names in a loop
// while everything is done that an agent does. Whatever comes of it, nothing outside
// is touched, nothing from there comes in, and nothing hangs. When it is over,
// everything works.
func TestAHostileUserLeadsRootNowhere(t *testing.T) {
	needRoot(t)
	for kind, make := range preys {
		t.Run(kind, func(t *testing.T) {
			e := newEstate(t)
			p := make(t, e)
			p.live(t)
			worked, refused := 0, map[string]int{}
			end := e.attack()
			rounds := 6
			if kind == "file" || kind == "sqlite" {
				rounds = 40 // which are quick
			}
			for range rounds {
				for _, o := range p.ops(t) {
					if err := promptly(t, o); err == nil {
						worked++
					} else {
						refused[o.name]++
					}
					e.check(o.name)
				}
			}
			moves := end()
			t.Logf("%d operations worked, refused were %v; %s moves against them", worked, refused, moves)
			e.tidy(p)
			e.check("afterwards")
			p.live(t)
			for _, o := range p.ops(t) {
				if err := promptly(t, o); err != nil {
					t.Errorf("afterwards %s: %v", o.name, err)
				}
			}
			e.check("at the end")
		})
	}
}

// tidy removes what the user has left, but for the mount point.
func (e *estate) tidy(p *prey) {
	e.t.Helper()
	if _, err := os.Readlink(e.app); err == nil {
		do(e.t, unix.Renameat2(unix.AT_FDCWD, e.app, unix.AT_FDCWD, e.app+away, unix.RENAME_EXCHANGE))
	}
	keep := "volume"
	for _, dir := range []string{e.app, filepath.Join(e.app, keep)} {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		do(e.t, err)
		for _, entry := range entries {
			if entry.Name() != keep {
				do(e.t, removeAll(e.t.Context(), held(e.t, dir), entry.Name()))
			}
		}
	}
	if m, ok := p.src.(*Prometheus); ok {
		do(e.t, removeFiles(m.swapping()))
	}
}

// attack starts the user's process; the result ends it, and says how much it did.
func (e *estate) attack() (end func() string) {
	e.t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestHostileUserProcess$", "-test.v")
	cmd.Env = append(os.Environ(), hostileHome+"="+e.home, hostileOutside+"="+e.outside)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}, Pdeathsig: syscall.SIGKILL}
	cmd.Dir = "/"
	stdin, err := cmd.StdinPipe()
	do(e.t, err)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	do(e.t, cmd.Start())
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
	away           = ".away"
)

// TestHostileUserProcess is the user's process, and no test by itself.
func TestHostileUserProcess(t *testing.T) {
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
		_ = os.Symlink(u.outside, u.app+away)
		for range 2 {
			_ = unix.Renameat2(unix.AT_FDCWD, u.app, unix.AT_FDCWD, u.app+away, unix.RENAME_EXCHANGE)
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
		name = beside(bases[u.rand.IntN(len(bases))], suffixes[u.rand.IntN(len(suffixes))])
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

// faulty has a function called before each step of a source's swaps and stages.
func (p *prey) faulty(fault func(step string) error) {
	switch s := p.src.(type) {
	case *Directory:
		s.swapFault = fault
	case *Prometheus:
		s.tree.swapFault = fault
	case *SQLite:
		s.fault = fault
	case *File:
		s.fault = fault
	}
}

// TestAFolderThatIsSwappedBetweenTwoStepsIsHeld puts a link to elsewhere into the
// place of the application's folder at each step of each operation: it goes on in the
// folder where it began.
func TestAFolderThatIsSwappedBetweenTwoStepsIsHeld(t *testing.T) {
	needRoot(t)
	for kind, make := range preys {
		t.Run(kind, func(t *testing.T) {
			e := newEstate(t)
			p := make(t, e)
			p.live(t)
			back := func() {
				if _, err := os.Lstat(e.app + away); err == nil {
					do(t, os.Remove(e.app))
					do(t, os.Rename(e.app+away, e.app))
				}
			}
			steps := 0
			p.faulty(func(string) error {
				steps++
				if _, err := os.Lstat(e.app + away); err != nil {
					do(t, os.Rename(e.app, e.app+away))
					do(t, os.Symlink(e.outside, e.app))
				}
				return nil
			})
			for _, o := range p.ops(t) {
				if o.name == "export" || o.name == "dump" {
					continue
				}
				if err := promptly(t, o); err != nil {
					t.Errorf("%s: %v", o.name, err)
				}
				back()
				e.check(o.name)
			}
			if steps < 10 {
				t.Errorf("only %d steps", steps)
			}
		})
	}
}

// TestWhatIsPlantedIsInNobodysWay has links, fifos, folders and files lie under every
// name that an agent uses beside a source.
func TestWhatIsPlantedIsInNobodysWay(t *testing.T) {
	needRoot(t)
	plants := map[string]func(*estate, string) error{
		"link to a file":   func(e *estate, at string) error { return os.Symlink(e.outside+"/secret", at) },
		"link to a folder": func(e *estate, at string) error { return os.Symlink(e.outside, at) },
		"fifo":             func(_ *estate, at string) error { return unix.Mkfifo(at, 0o666) },
		"folder":           func(_ *estate, at string) error { return os.Mkdir(at, 0o777) },
	}
	for kind, make := range preys {
		if kind == "mount point" {
			continue // whose names lie in a folder of root's alone
		}
		for what, plant := range plants {
			t.Run(kind+", "+what, func(t *testing.T) {
				e := newEstate(t)
				p := make(t, e)
				p.live(t)
				name := filepath.Base(p.target)
				for _, suffix := range []string{"staging", "staged", "delta", "list", "listing", "marks", "marking", "partial"} {
					at := besides(p.target, suffix)
					do(t, plant(e, at))
					do(t, os.Lchown(at, nobody, nobody))
				}
				do(t, plant(e, filepath.Join(e.app, beside(name, "staged")+"-wal")))
				for _, o := range p.ops(t) {
					if err := promptly(t, o); err != nil {
						t.Errorf("%s: %v", o.name, err)
					}
					e.check(o.name)
				}
			})
		}
	}
}

// TestAForeignLinkIsNotFollowed: a link that the application's user has put into a
// source's path leads to what is that user's, or nowhere. One of root leads wherever
// root has it lead.
func TestAForeignLinkIsNotFollowed(t *testing.T) {
	needRoot(t)
	for kind, make := range preys {
		if kind == "mount point" {
			continue // which cannot be replaced
		}
		t.Run(kind, func(t *testing.T) {
			e := newEstate(t)
			p := make(t, e)
			do(t, os.Symlink(filepath.Join(e.outside, filepath.Base(p.target)), p.target))
			do(t, os.Lchown(p.target, nobody, nobody))
			for _, o := range p.ops(t) {
				if o.name == "export" {
					continue // beside it
				}
				if err := promptly(t, o); !errors.Is(err, fsx.ErrForeignLink) {
					t.Errorf("%s: %v", o.name, err)
				}
				e.check(o.name)
			}
			// To what is theirs.
			theirs := filepath.Join(e.home, "elsewhere")
			do(t, os.Mkdir(theirs, 0o755))
			do(t, os.Chown(theirs, nobody, nobody))
			do(t, os.Remove(p.target))
			do(t, os.Symlink(filepath.Join(theirs, filepath.Base(p.target)), p.target))
			do(t, os.Lchown(p.target, nobody, nobody))
			p.live(t)
			if _, err := os.Lstat(filepath.Join(theirs, filepath.Base(p.target))); err != nil {
				t.Error(err)
			}
			e.check("to what is theirs")
		})
	}
}

// TestAFifoBesideADatabaseHoldsNobodyUp: SQLite's files are the user's, and so may be
// anything.
func TestAFifoBesideADatabaseHoldsNobodyUp(t *testing.T) {
	for _, side := range []string{"", "-wal", "-journal", "-shm"} {
		path := filepath.Join(t.TempDir(), "a.db")
		must(t, newBank(t, path, "delete", 3).Close())
		if side == "" {
			must(t, os.Remove(path))
		}
		must(t, unix.Mkfifo(path+side, 0o600))
		_, _, err := newShelf(t).tryBackup(t.Context(), newSQLite(t, path))
		if !errors.Is(err, fsx.ErrNotFile) {
			t.Errorf("a fifo at a.db%s: %v", side, err)
		}
		_ = promptly(t, op{"check", newSQLite(t, path).Check})
	}
}

// TestAStageThatIsSwappedIsNotTaken puts another folder or file into the place of a
// stage just before it gets its name.
func TestAStageThatIsSwappedIsNotTaken(t *testing.T) {
	for _, kind := range []string{"directory", "mount point"} {
		t.Run(kind, func(t *testing.T) {
			needRoot(t)
			e := newEstate(t)
			p := preys[kind](t, e)
			p.live(t)
			d := p.src.(*Directory)
			d.swapFault = func(step string) error {
				if step == "stage" {
					staging := besides(p.target, "staging")
					if kind == "mount point" {
						staging = filepath.Join(p.target, stageFolder, "staging")
					}
					do(t, os.Rename(staging, staging+away))
					do(t, os.Mkdir(staging, 0o777))
				}
				return nil
			}
			if err := d.Stage(t.Context(), p.readA, p.a); !errors.Is(err, fsx.ErrReplaced) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

// TestAFileOfTheUsersDoesNotBecomeRoots: only the metadata of a program differs that
// runs as root, and the user has put another one into the stage meanwhile.
func TestAFileOfTheUsersDoesNotBecomeRoots(t *testing.T) {
	needRoot(t)
	e := newEstate(t)
	from := filepath.Join(t.TempDir(), "files")
	program := filepath.Join(from, "program")
	then := time.Unix(1e9, 0)
	do(t, os.Mkdir(from, 0o755))
	do(t, os.WriteFile(program, []byte("good"), 0o755))
	do(t, os.Chtimes(program, then, then))
	for _, path := range []string{from, program} {
		do(t, os.Chown(path, nobody, nobody))
	}
	v, src := newVault(t), newTestDirectory(t, from)
	a, _ := v.mustBackup(src)
	readA := v.last()
	do(t, os.Chown(program, 0, 0))
	do(t, unix.Chmod(program, 0o4755))
	b, _ := v.mustBackup(src)
	readB := v.last()

	d := newTestDirectory(t, filepath.Join(e.app, "files"))
	do(t, d.Stage(t.Context(), readA, a))
	d.swapFault = func(step string) error {
		if step == "advance" { // everything has been looked at
			staged := filepath.Join(d.Staged(), "program")
			do(t, os.Remove(staged))
			do(t, os.WriteFile(staged, []byte("evil"), 0o755))
			do(t, os.Chown(staged, nobody, nobody))
			do(t, os.Chtimes(staged, then, then))
		}
		return nil
	}
	do(t, d.Advance(t.Context(), readB, a, b))
	sourcetest.CompareTrees(t, from, d.Staged())
}

package directory

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source/internal/stage"
	"github.com/understudy-ha/understudy/backup/source/internal/swap"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

func TestAHostileUserLeadsRootNowhere(t *testing.T) {
	sourcetest.LeadsRootNowhere(t, preyDirectory)
}

func TestAFolderThatIsSwappedBetweenTwoStepsIsHeld(t *testing.T) {
	sourcetest.HoldsItsDirectory(t, preyDirectory)
}

func TestWhatIsPlantedIsInNobodysWay(t *testing.T) {
	sourcetest.MindsNoPlants(t, preyDirectory)
}

func TestAForeignLinkIsNotFollowed(t *testing.T) {
	sourcetest.FollowsNoForeignLink(t, preyDirectory)
}

func TestAHostileUserLeadsRootNowhereInAMountPoint(t *testing.T) {
	sourcetest.LeadsRootNowhere(t, preyMount)
}

func TestAFolderThatIsSwappedBetweenTwoStepsIsHeldInAMountPoint(t *testing.T) {
	sourcetest.HoldsItsDirectory(t, preyMount)
}

// TestHostileUserProcess is the user's process, and no test by itself.
func TestHostileUserProcess(*testing.T) { sourcetest.RunHostileUser() }

func preyDirectory(t *testing.T, e *sourcetest.Estate) *sourcetest.Prey {
	g := newGenerations(t)
	return newPrey(t, g, filepath.Join(e.App, "files"))
}

func preyMount(t *testing.T, e *sourcetest.Estate) *sourcetest.Prey {
	g := newGenerations(t)
	target := filepath.Join(e.App, "volume")
	sourcetest.Must(t, os.Mkdir(target, 0o755))
	sourcetest.Must(t, unix.Mount("understudy", target, "tmpfs", 0, "size=64m"))
	t.Cleanup(func() { sourcetest.Must(t, unix.Unmount(target, unix.MNT_DETACH)) })
	sourcetest.Must(t, os.Chown(target, sourcetest.Nobody, sourcetest.Nobody))
	p := newPrey(t, g, target)
	p.Mount = true
	return p
}

// newPrey is a directory of which two backups were made elsewhere.
func newPrey(t *testing.T, g *generations, target string) *sourcetest.Prey {
	t.Helper()
	src := newTestDirectory(t, target)
	return &sourcetest.Prey{
		Src: src, A: g.a, B: g.b, ReadA: g.readA, ReadB: g.readB, Target: target, Rounds: 6,
		Fault: func(f func(string) error) { src.SwapFault = f },
	}
}

// TestAStageThatIsSwappedIsNotTaken puts another folder or file into the place of a
// stage just before it gets its name.
func TestAStageThatIsSwappedIsNotTaken(t *testing.T) {
	for kind, make := range map[string]func(*testing.T, *sourcetest.Estate) *sourcetest.Prey{"directory": preyDirectory, "mount point": preyMount} {
		t.Run(kind, func(t *testing.T) {
			sourcetest.NeedRoot(t)
			e := sourcetest.NewEstate(t)
			p := make(t, e)
			p.Live(t)
			d := p.Src.(*Source)
			d.SwapFault = func(step string) error {
				if step == "stage" {
					staging := swap.Besides(p.Target, "staging")
					if kind == "mount point" {
						staging = filepath.Join(p.Target, stage.Folder, "staging")
					}
					sourcetest.Must(t, os.Rename(staging, staging+sourcetest.Away))
					sourcetest.Must(t, os.Mkdir(staging, 0o777))
				}
				return nil
			}
			if err := d.Stage(t.Context(), p.ReadA, p.A); !errors.Is(err, fsx.ErrReplaced) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

// TestAFileOfTheUsersDoesNotBecomeRoots: only the metadata of a program differs that
// runs as root, and the user has put another one into the stage meanwhile.
func TestAFileOfTheUsersDoesNotBecomeRoots(t *testing.T) {
	sourcetest.NeedRoot(t)
	e := sourcetest.NewEstate(t)
	from := filepath.Join(t.TempDir(), "files")
	program := filepath.Join(from, "program")
	then := time.Unix(1e9, 0)
	sourcetest.Must(t, os.Mkdir(from, 0o755))
	sourcetest.Must(t, os.WriteFile(program, []byte("good"), 0o755))
	sourcetest.Must(t, os.Chtimes(program, then, then))
	for _, path := range []string{from, program} {
		sourcetest.Must(t, os.Chown(path, sourcetest.Nobody, sourcetest.Nobody))
	}
	v, src := sourcetest.NewVault(t), newTestDirectory(t, from)
	a, _ := v.Backup(t, src)
	readA := v.Reader()
	sourcetest.Must(t, os.Chown(program, 0, 0))
	sourcetest.Must(t, unix.Chmod(program, 0o4755))
	b, _ := v.Backup(t, src)
	readB := v.Reader()

	d := newTestDirectory(t, filepath.Join(e.App, "files"))
	sourcetest.Must(t, d.Stage(t.Context(), readA, a))
	d.SwapFault = func(step string) error {
		if step == "advance" { // everything has been looked at
			staged := filepath.Join(d.Staged(), "program")
			sourcetest.Must(t, os.Remove(staged))
			sourcetest.Must(t, os.WriteFile(staged, []byte("evil"), 0o755))
			sourcetest.Must(t, os.Chown(staged, sourcetest.Nobody, sourcetest.Nobody))
			sourcetest.Must(t, os.Chtimes(staged, then, then))
		}
		return nil
	}
	sourcetest.Must(t, d.Advance(t.Context(), readB, a, b))
	sourcetest.CompareTrees(t, from, d.Staged())
}

// TestSQLiteApplicationProcess is no test: it is the application, when the
// test binary is started as one.
func TestSQLiteApplicationProcess(t *testing.T) { sourcetest.RunApplication(t) }

package directory

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// What a swap could not rename is said before, with what to do; what it could not
// delete is said, too.
func TestWhatASwapCannotRenameIsSaidBefore(t *testing.T) {
	sourcetest.CheckObstaclesOf(t, []sourcetest.Obstacle{
		{Name: "folder", Src: folder, Flags: sourcetest.Immutable, Want: "cannot be replaced, because it is immutable: chattr -i"},
		{Name: "folder above", Src: folder, Locks: "..", Flags: sourcetest.Immutable, Want: "because that folder is immutable: chattr -i"},
		{Name: "append-only folder above", Src: folder, Locks: "..", Flags: sourcetest.AppendOnly, Want: "because that folder is append-only: chattr -a"},
		{Name: "in a folder", Src: folder, Locks: "locked", Flags: sourcetest.Immutable, Lasts: `"locked" is immutable`},
		{Name: "log in a folder", Src: folder, Locks: "locked", Flags: sourcetest.AppendOnly, Lasts: `"locked" is append-only`},
		{Name: "mount point", Src: volumeDir, Flags: sourcetest.AppendOnly, Want: "nothing in"},
		{Name: "on a mount point", Src: volumeDir, Locks: "locked", Flags: sourcetest.Immutable, Want: `cannot be replaced entry by entry: "locked" is immutable (chattr -i)`},
		{Name: "log on a mount point", Src: volumeDir, Locks: "locked", Flags: sourcetest.AppendOnly, Want: `"locked" is append-only (chattr -a)`},
		{Name: "other flags", Src: volumeDir, Locks: "locked", Flags: sourcetest.NoDump},
	})
}

func folder(t *testing.T, path string) source.Source {
	sourcetest.Must(t, os.Mkdir(path, 0o755))
	sourcetest.Must(t, os.WriteFile(filepath.Join(path, "locked"), nil, 0o644))
	return newTestDirectory(t, path)
}

func volumeDir(t *testing.T, path string) source.Source {
	d := folder(t, path).(*Source)
	d.mounted = always
	return d
}

func TestMuchThatCannotBeRenamedIsCounted(t *testing.T) {
	dir := t.TempDir()
	for i := range source.MaxNamed + 3 {
		path := filepath.Join(dir, fmt.Sprint(i))
		sourcetest.Must(t, os.WriteFile(path, nil, 0o644))
		sourcetest.Flagged(t, path, sourcetest.Immutable)
	}
	d := newTestDirectory(t, dir)
	lasting, err := source.Lasting(t.Context(), d)
	if err != nil || len(lasting) != source.MaxNamed+1 || lasting[source.MaxNamed] != "and 3 more" {
		t.Errorf("%q, %v", lasting, err)
	}
}

const withoutRoot = "UNDERSTUDY_TEST_WITHOUT_ROOT"

// An agent without root may not rename, or delete, what is others'.
func TestWhatAnAgentWithoutRootCannotRenameIsSaidBefore(t *testing.T) {
	if dir := os.Getenv(withoutRoot); dir != "" {
		tellObstacles(t, dir)
		return
	}
	sourcetest.NeedRoot(t)
	dir := t.TempDir()
	sourcetest.Must(t, os.Chmod(filepath.Dir(dir), 0o755)) //nolint:gosec // for the other user
	for _, name := range []string{"sticky/state", "own/state/roots", "own/state/ours", "rooted/state"} {
		sourcetest.Must(t, os.MkdirAll(filepath.Join(dir, name), 0o755))
	}
	const nobody = 65534
	for _, name := range []string{"own", "own/state", "own/state/ours", "rooted/state"} {
		sourcetest.Must(t, os.Chown(filepath.Join(dir, name), nobody, nobody))
	}
	sourcetest.Must(t, os.Chmod(filepath.Join(dir, "sticky"), 0o777|os.ModeSticky))
	binary := filepath.Join(dir, "test")
	sourcetest.Must(t, os.Link(os.Args[0], binary))
	cmd := exec.Command(binary, "-test.v", "-test.run=^"+t.Name()+"$") //nolint:gosec // this test's own program
	cmd.Dir, cmd.Env = dir, append(os.Environ(), withoutRoot+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	sourcetest.Must(t, err)
	var said []string
	for line := range strings.Lines(string(out)) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "said "); ok {
			said = append(said, text)
		}
	}
	for _, want := range []string{
		"sticky: source files: " + dir + "/sticky/state cannot be replaced, because it belongs to another user, in a folder with the sticky bit",
		`own: lasting "roots" is another user's folder`,
		`volume: source files: what is in ` + dir + `/own/state cannot be replaced entry by entry: "roots" belongs to another user`,
		"rooted: source files: stage a restore of " + dir + "/rooted/state beside it: write to " + dir + "/rooted: permission denied",
	} {
		if !slices.ContainsFunc(said, func(text string) bool { return strings.HasPrefix(text, want) }) {
			t.Errorf("%q is missing:\n%s", want, out)
		}
	}
}

// tellObstacles is the agent without root.
func tellObstacles(t *testing.T, dir string) {
	for _, name := range []string{"sticky", "own", "rooted"} {
		d := newTestDirectory(t, filepath.Join(dir, name, "state"))
		fmt.Printf("\nsaid %s: %v\n", name, d.CheckRestore(t.Context()))
		lasting, err := source.Lasting(t.Context(), d)
		fmt.Printf("said %s: lasting %s %v\n", name, strings.Join(lasting, ", "), err)
	}
	d := newTestDirectory(t, filepath.Join(dir, "own", "state"))
	d.mounted = always
	fmt.Printf("said volume: %v\n", d.CheckRestore(t.Context()))
}

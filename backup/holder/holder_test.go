package holder

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// start runs a shell script that prints a line once it is ready and then waits
// for the test to end.
func start(t testing.TB, attr *syscall.SysProcAttr, script string, args ...string) int {
	t.Helper()
	cmd := exec.Command("sh", append([]string{"-c", script + "\necho ready; read forever", "sh"}, args...)...)
	cmd.SysProcAttr = attr
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("%s: %q, %v", script, line, err)
	}
	return cmd.Process.Pid
}

func find(t testing.TB, places ...Place) Found {
	t.Helper()
	f, err := Find(t.Context(), places, nil)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestHoldersAreFound(t *testing.T) {
	for name, c := range map[string]struct {
		script string // with the folder and its file
		attr   *syscall.SysProcAttr
		how    string
		writes bool
		tree   bool // only a look at the whole folder can find it
		file   bool // only a look at the file can find it
	}{
		"a writer":            {script: `exec 3>>"$2"`, how: "open for writing", writes: true},
		"a reader":            {script: `exec 3<"$2"`, how: "open for reading"},
		"a deleted file":      {script: `exec 3>"$1/gone"; rm "$1/gone"`, how: "open for writing", writes: true, tree: true},
		"a working directory": {script: `cd "$1"`, how: "as its working directory", tree: true},
		"another name":        {script: `ln "$2" "$1/../other"; exec 3>>"$1/../other"; rm "$1/../other"`, how: "open for writing", writes: true, file: true},
		"another mount": {
			script: `mkdir "$1/../there"; mount --make-rprivate /; mount --bind "$1" "$1/../there"; cd /; exec 3>>"$1/../there/file"`,
			attr:   &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}, how: "open for writing", writes: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "a folder")
			file := filepath.Join(dir, "file")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte("content"), 0o644); err != nil {
				t.Fatal(err)
			}
			if got := find(t, Place{Path: dir}); len(got.Holders) > 0 {
				t.Fatalf("with nobody there: %v", got.Holders)
			}
			pid := start(t, c.attr, c.script, dir, file)
			var places []Place
			if !c.file {
				places = append(places, Place{Path: dir})
			}
			if !c.tree {
				places = append(places, Place{Path: file})
			}
			for _, place := range places {
				got := find(t, Place{Path: "/nowhere"}, place).Holders
				if len(got) != 1 || got[0].PID != pid || got[0].How != c.how || got[0].Writes != c.writes || got[0].User == "" || got[0].Command != "sh" {
					t.Errorf("in %s: %+v", place.Path, got)
				}
			}
			if got := find(t, Place{Path: dir, Except: []string{dir}}).Holders; len(got) > 0 && !c.file {
				t.Errorf("though excepted: %v", got)
			}
			if got := find(t, Place{Path: dir + "-and-more"}).Holders; len(got) > 0 {
				t.Errorf("beside it: %v", got)
			}
		})
	}
}

func TestMappingsAreFound(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, make([]byte, 4096), 0o644); err != nil {
		t.Fatal(err)
	}
	if at := os.Getenv("HOLDER_MAP"); at != "" {
		mapAndWait(t, at)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestMappingsAreFound$", "-test.v")
	cmd.Env = append(os.Environ(), "HOLDER_MAP="+file)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "mapped" { // what comes before is the test's own
	}
	got := find(t, Place{Path: file}).Holders
	if len(got) != 1 || got[0].How != "mapped for writing" || !got[0].Writes {
		t.Errorf("%+v", got)
	}
}

func mapAndWait(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	fmt.Println("mapped")
	_, _ = os.Stdin.Read(make([]byte, 1))
}

// TestWhatMayNotBeLookedAtIsSaid looks as a user who may not look at others'.
func TestWhatMayNotBeLookedAtIsSaid(t *testing.T) {
	if os.Getenv("HOLDER_USER") != "" {
		fmt.Printf("blind: %s\n", find(t, Place{Path: "/"}).Blind)
		return
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestWhatMayNotBeLookedAtIsSaid$", "-test.v")
	cmd.Env = append(os.Environ(), "HOLDER_USER=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	cmd.Dir = "/"
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "processes of other users could not be looked at") {
		t.Errorf("%v\n%s", err, out)
	}
}

// BenchmarkFind looks among 2,000 processes.
func BenchmarkFind(b *testing.B) {
	dir := b.TempDir()
	for range 2000 {
		cmd := exec.Command("sleep", "1000")
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
	}
	for b.Loop() {
		find(b, Place{Path: dir})
	}
}

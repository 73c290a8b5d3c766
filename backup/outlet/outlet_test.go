package outlet

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func run(path string, tail int, keep Collector, script string, args ...string) (string, error) {
	last := &Tail{Max: tail}
	err := Run(exec.Command("sh", append([]string{"-c", script}, args...)...), path, last, keep)
	return last.String(), err
}

// kept is how much a log's files take.
func kept(t *testing.T, path string) (n int64) {
	t.Helper()
	for _, p := range []string{path, path + ".1"} {
		if info, err := os.Stat(p); err == nil {
			n += info.Size()
		}
	}
	return n
}

func TestOutputWithoutEndIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hooks", "loud.log")
	for range 3 {
		said, err := run(path, 100, nil, "yes nothing new | head -c 20000000; echo the reason")
		if err != nil || !strings.HasSuffix(said, "the reason") || len(said) > 110 {
			t.Errorf("%q, %v", said, err)
		}
		if n := kept(t, path); n > 2*Max || n < Max {
			t.Errorf("%d bytes are kept", n)
		}
		if text, err := os.ReadFile(path); err != nil || !strings.HasSuffix(string(text), "the reason\n") {
			t.Errorf("the file does not end with the last line: %v", err)
		}
	}
}

// TestWhatIsLeftRunningPrintsOn has a program leave something running that prints
// without end, and this process hand its output over: it goes on, and what is
// kept stays within bounds.
func TestWhatIsLeftRunningPrintsOn(t *testing.T) {
	dir := t.TempDir()
	path, beat := filepath.Join(dir, "daemon.log"), filepath.Join(dir, "beat")
	if err := syscall.Mkfifo(beat, 0o600); err != nil {
		t.Fatal(err)
	}
	collector := make(chan *exec.Cmd, 1)
	keep := func(pipe *os.File, path string) error {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestKeeperProcess$")
		cmd.Env, cmd.Stdin = append(os.Environ(), "KEEP_OUTPUT="+path), pipe
		err := cmd.Start()
		collector <- cmd
		return err
	}
	script := `(while :; do yes a line of no interest | head -c 1000000; echo beat > "$0"; done) & echo $! > "$0.pid"`
	if _, err := run(path, 4096, keep, script, beat); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(beat + ".pid")
	if err != nil {
		t.Fatal(err)
	}
	pid := strings.TrimSpace(string(text))
	t.Cleanup(func() { _ = exec.Command("kill", "-9", pid).Run() })
	cmd := <-collector
	f, err := os.OpenFile(beat, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for beats := bufio.NewReader(f); !t.Failed() && kept(t, path+".1") == 0; {
		if _, err := beats.ReadString('\n'); err != nil {
			t.Errorf("it does not go on: %v", err)
		}
	}
	if n := kept(t, path); n > 2*Max {
		t.Errorf("%d bytes are kept", n)
	}
	if err := exec.Command("kill", "-9", pid).Run(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the collector has not ended with who prints: %v", err)
	}
}

// TestKeeperProcess is the other process of the test above.
func TestKeeperProcess(t *testing.T) {
	path := os.Getenv("KEEP_OUTPUT")
	if path == "" {
		path = filepath.Join(t.TempDir(), "nothing.log")
		if err := Keep(strings.NewReader("nothing"), path); err != nil {
			t.Error(err)
		}
		return
	}
	if err := Keep(os.Stdin, path); err != nil {
		t.Error(err)
	}
}

// TestARunDoesNotWaitForWhatItLeavesRunning, nor does a disk that is full keep it
// from being run.
func TestARunDoesNotWaitForWhatItLeavesRunning(t *testing.T) {
	begun := time.Now()
	said, err := run("/dev/null/nowhere.log", 100, nil, "echo started; sleep 30 & echo $!")
	if err != nil || !strings.HasPrefix(said, "started") || time.Since(begun) > 20*time.Second {
		t.Errorf("%q, %v", said, err)
	}
	_ = exec.Command("kill", strings.Fields(said)[1]).Run()
}

// TestLastWordsAreKeptBeforeARunEnds has the reader come to a halt between the pipe
// and what keeps the end of the output, while something that the program has left
// running has the pipe open.
func TestLastWordsAreKeptBeforeARunEnds(t *testing.T) {
	last := &Tail{Max: 100}
	last.mu.Lock()
	ran := make(chan error, 1)
	go func() {
		script := "sleep 30 & echo $!"
		ran <- Run(exec.Command("sh", "-c", script), "/dev/null/nowhere.log", last, nil)
	}()
	select {
	case <-ran:
		t.Error("the run ended before what was read was kept")
		ran <- nil
	case <-time.After(fileWait):
	}
	last.mu.Unlock()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	pid := last.String()
	if pid == "" {
		t.Fatal("the last words are lost")
	}
	_ = exec.Command("kill", pid).Run()
}

func TestHeadTakesAllAndKeepsTheBeginning(t *testing.T) {
	h := &Head{Max: 10}
	if n, err := io.Copy(h, strings.NewReader(strings.Repeat("0123456789", 1000))); n != 10000 || err != nil || string(h.Bytes()) != "0123456789" {
		t.Errorf("%d, %v, %q", n, err, h.Bytes())
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	last := &Tail{Max: 10}
	for range 100 {
		_, _ = last.Write([]byte("0123456789ab"))
	}
	if got := last.String(); got != "…23456789ab" {
		t.Errorf("kept %q", got)
	}
}

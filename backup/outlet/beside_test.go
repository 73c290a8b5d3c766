package outlet

import (
	"bytes"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// deadWriter takes nothing until it is revived.
type deadWriter struct {
	alive chan struct{}
	buf   bytes.Buffer
}

func (d *deadWriter) Write(p []byte) (int, error) {
	<-d.alive
	return d.buf.Write(p)
}

func TestADiskThatDoesNotAnswerHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &deadWriter{alive: make(chan struct{})}
		b := NewBeside(time.Second, func() io.Writer { return w })
		began := time.Now()
		for range 1000 {
			_, _ = b.Write([]byte("lost perhaps\n"))
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("it was waited for %v", took)
		}
		close(w.alive)
		synctest.Wait()
		_, _ = b.Write([]byte("the last line\n"))
		b.End()
		if !strings.HasSuffix(w.buf.String(), "the last line\n") {
			t.Error("what is printed once it answers is lost")
		}
	})
}

// A program whose output goes to a file that cannot be opened, for nobody reads
// that pipe, prints more than a pipe holds, and ends.
func TestAProgramEndsThoughNothingOfItsOutputCanBeKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hook.log")
	l := func() *Log { return Resume(path, Max) }
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	last := &Tail{Max: 100}
	err := runTo(exec.Command("sh", "-c", "yes | head -c 3000000; echo the reason"), beside(l), path, last, nil)
	if err != nil || !strings.HasSuffix(last.String(), "the reason") {
		t.Errorf("%q, %v", last, err)
	}
}

// A program's last words are read, however long the disk holds the reader up: they say
// why it has failed.
func TestTheLastWordsAreReadThoughTheDiskIsSlow(t *testing.T) {
	dead := make(chan struct{})
	defer close(dead)
	file := NewBeside(time.Second, func() io.Writer {
		<-dead
		return io.Discard
	})
	last := &Tail{Max: 100}
	err := runTo(exec.Command("sh", "-c", "for i in $(seq 80); do echo $i; sleep 0.005; done; echo the reason"), file, "", last, nil)
	if err != nil || !strings.HasSuffix(last.String(), "the reason") {
		t.Errorf("%q, %v", last, err)
	}
}

package outlet

import (
	"os"
	"path/filepath"
)

// Log is a file that keeps the last of what is written to it. When it is full it
// becomes the earlier file beside it, and another one is begun. Writing never
// fails: what a disk has no room for is lost.
type Log struct {
	path string
	max  int64
	f    *os.File // nil while there is none
	size int64
}

// Open begins a file anew.
func Open(path string, max int64) *Log {
	l := &Log{path: path, max: max}
	// Somebody may still print to the one before, which keeps its content then,
	// and is gone with the last who does.
	_ = os.Remove(path)
	l.begin()
	return l
}

// Resume goes on with a file.
func Resume(path string, max int64) *Log {
	l := &Log{path: path, max: max}
	l.begin()
	return l
}

func (l *Log) begin() {
	l.size = 0
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if os.IsNotExist(err) && os.MkdirAll(filepath.Dir(l.path), 0o700) == nil {
		f, err = os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	}
	if err != nil {
		return
	}
	if info, err := f.Stat(); err == nil {
		l.size = info.Size()
	}
	l.f = f
}

// Write implements io.Writer.
func (l *Log) Write(b []byte) (int, error) {
	for rest := b; len(rest) > 0; {
		part := rest[:min(int64(len(rest)), l.max)]
		rest = rest[len(part):]
		if l.size+int64(len(part)) > l.max {
			l.turn()
		}
		if l.f == nil {
			l.begin()
		}
		if l.f != nil {
			n, _ := l.f.Write(part)
			l.size += int64(n)
		}
	}
	return len(b), nil
}

// turn makes the file the earlier one. A file that is no longer at the path is
// another run's by now: this one is emptied instead.
func (l *Log) turn() {
	if l.f == nil {
		return
	}
	ours, err := l.f.Stat()
	there, failed := os.Lstat(l.path)
	if err != nil || failed != nil || !os.SameFile(ours, there) || os.Rename(l.path, l.path+".1") != nil {
		_ = l.f.Truncate(0)
		l.size = 0
		return
	}
	_ = l.f.Close()
	l.f = nil
	l.begin()
}

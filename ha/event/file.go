package event

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// maxLine is the longest line that is read back.
const maxLine = 1 << 20

// file is a log file and some older ones beside it.
type file struct {
	path string
	max  int64
	keep int // how many older ones
	f    *os.File
	size int64
}

// openFile opens the log at path, and gives every event in it to each.
func openFile(path string, limit int64, keep int, each func(Event)) (*file, error) {
	l := &file{path: path, max: limit, keep: keep}
	files, err := l.read()
	if err != nil {
		return nil, err
	}
	if err := readEvents(files, each); err != nil {
		return nil, err
	}
	return l, l.open()
}

// older is the name of the nth older file; that of the 0th is path.
func older(path string, n int) string {
	if n == 0 {
		return path
	}
	return fmt.Sprintf("%s.%d", path, n)
}

// open opens the file to append to it, on a line of its own.
func (l *file) open() error {
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil && info.Size() > 0 {
		last := make([]byte, 1)
		if _, err = f.ReadAt(last, info.Size()-1); err == nil && last[0] != '\n' {
			_, err = f.WriteString("\n")
		}
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	l.f, l.size = f, info.Size()
	return nil
}

// add appends one event, in a new file when this one is full. One that matters
// is on the disk when it returns.
func (l *file) add(e Event) error {
	if l.f == nil {
		return errClosed
	}
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	if l.size > 0 && l.size+int64(len(line)) > l.max {
		if err := l.rotate(); err != nil {
			return fmt.Errorf("rotate %s: %w", l.path, err)
		}
	}
	n, err := l.f.Write(append(line, '\n'))
	l.size += int64(n)
	if err == nil && e.matters() {
		err = l.f.Sync()
	}
	return err
}

// rotate moves the files aside, and so drops the oldest. Whatever fails, a file
// stays open.
func (l *file) rotate() error {
	for n := l.keep; n > 0; n-- {
		if err := os.Rename(older(l.path, n-1), older(l.path, n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	full := l.f
	if err := l.open(); err != nil {
		return err // the full one goes on
	}
	return full.Close()
}

func (l *file) close() error {
	if l.f == nil {
		return nil
	}
	f := l.f
	l.f = nil
	return f.Close()
}

// read opens all files for reading, the oldest first. Files that are moved
// aside later are read all the same.
func (l *file) read() ([]*os.File, error) {
	var files []*os.File
	for n := l.keep; n >= 0; n-- {
		f, err := os.Open(older(l.path, n))
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			closeAll(files)
			return nil, err
		default:
			files = append(files, f)
		}
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close() // it was only read
	}
}

// readEvents gives every event of files to each, as far as they can be read,
// and closes them.
func readEvents(files []*os.File, each func(Event)) error {
	defer closeAll(files)
	for _, f := range files {
		if err := readLines(f, each); err != nil {
			return fmt.Errorf("read %s: %w", f.Name(), err)
		}
	}
	return nil
}

// readLines reads what can be read of a file. A line that a crash cut short is
// skipped.
func readLines(r io.Reader, each func(Event)) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var e Event
		if json.Unmarshal(lines.Bytes(), &e) == nil && e.ID != 0 {
			each(e)
		}
	}
	if err := lines.Err(); !errors.Is(err, bufio.ErrTooLong) {
		return err
	}
	return nil // what follows was not written by this program
}

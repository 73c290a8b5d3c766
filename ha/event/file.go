package event

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// maxLine is the longest line that is read back.
const maxLine = 1 << 20

// file is a log file and one older one beside it.
type file struct {
	path string
	max  int64
	f    *os.File
	size int64
}

func openFile(path string, limit int64) (*file, []Event, error) {
	var events []Event
	for _, p := range []string{older(path), path} {
		more, err := readEvents(p)
		if err != nil {
			return nil, nil, err
		}
		events = append(events, more...)
	}
	l := &file{path: path, max: limit}
	if err := l.open(); err != nil {
		return nil, nil, err
	}
	return l, events, nil
}

func older(path string) string { return path + ".1" }

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

// add appends one event, in a new file when this one is full.
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
	return err
}

// rotate moves the file aside. Whatever fails, a file stays open.
func (l *file) rotate() error {
	if err := os.Rename(l.path, older(l.path)); err != nil {
		return err
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

// readEvents reads what can be read of a file; none is no event.
func readEvents(path string) ([]Event, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var events []Event
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var e Event
		if json.Unmarshal(lines.Bytes(), &e) == nil && e.ID != 0 {
			events = append(events, e)
		}
	}
	return events, lines.Err()
}

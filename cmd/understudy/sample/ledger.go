package sample

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ledger is the list of acknowledged commits: lines of serial and digest,
// each durable before the next commit begins. It stands outside the backed-up
// state, as the customer's own notes would.
type ledger struct{ file *os.File }

func openLedger(path string) (*ledger, error) {
	if path == "" {
		return &ledger{}, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make ledger folder: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	return &ledger{file: f}, nil
}

func (l *ledger) acknowledge(r row) error {
	if l.file == nil {
		return nil
	}
	if _, err := fmt.Fprintf(l.file, "%d %s\n", r.serial, r.sum); err != nil {
		return fmt.Errorf("append to ledger: %w", err)
	}
	if err := l.file.Sync(); err != nil {
		return fmt.Errorf("sync ledger: %w", err)
	}
	return nil
}

func (l *ledger) close() error {
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}

// entry is one line of a ledger.
type entry struct {
	serial int64
	sum    string
}

// readLedger reads a ledger; none, or one that is missing, is empty. A last line without
// its end was cut off by a crash before the commit counted as acknowledged.
func readLedger(path string) ([]entry, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	defer f.Close()
	var entries []entry
	in := bufio.NewReader(f)
	for {
		line, err := in.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return entries, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read ledger: %w", err)
		}
		var e entry
		if _, err := fmt.Sscanf(strings.TrimSpace(line), "%d %s", &e.serial, &e.sum); err != nil {
			return nil, fmt.Errorf("read ledger line %q: %w", line, err)
		}
		entries = append(entries, e)
	}
}

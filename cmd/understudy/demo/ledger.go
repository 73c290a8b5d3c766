package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// ledger is the file in which the application notes every commit that it
// has acknowledged, a line each. It stands for what the application's users
// know, so no backup holds it.
type ledger string

// count gives the number of commits.
func (l ledger) count() (int, error) {
	text, err := os.ReadFile(string(l))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("read ledger: %w", err)
	}
	return bytes.Count(text, []byte("\n")), nil
}

// grows waits until n more commits were acknowledged.
func (l ledger) grows(ctx context.Context, n int) error {
	before, err := l.count()
	if err != nil {
		return err
	}
	return await(ctx, "the application has made more commits", func() error {
		switch now, err := l.count(); {
		case err != nil:
			return err
		case now < before+n:
			return fmt.Errorf("%d of %d", now-before, n)
		}
		return nil
	})
}

// frozen makes a copy of the ledger as it is now.
func (l ledger) frozen() (ledger, error) {
	text, err := os.ReadFile(string(l))
	if err != nil {
		return "", fmt.Errorf("copy ledger: %w", err)
	}
	frozen := l + "-at-the-crash"
	if err := os.WriteFile(string(frozen), text, 0o600); err != nil {
		return "", fmt.Errorf("copy ledger: %w", err)
	}
	return frozen, nil
}

// longestPause begins to measure for how long at most nothing is acknowledged;
// the function that it returns ends that.
func (l ledger) longestPause(ctx context.Context, now func() time.Time) (end func() time.Duration) {
	ctx, cancel := context.WithCancel(ctx)
	longest := make(chan time.Duration)
	go func() {
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		var pause time.Duration
		var size int64
		for since := now(); ; {
			if info, err := os.Stat(string(l)); err == nil && info.Size() != size {
				pause, since, size = max(pause, now().Sub(since)), now(), info.Size()
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				longest <- max(pause, now().Sub(since))
				return
			}
		}
	}()
	return func() time.Duration {
		cancel()
		return <-longest
	}
}

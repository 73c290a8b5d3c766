package demo

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/dustin/go-humanize"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/report"
)

// makeCluster makes the cluster around an application that runs already, as
// anybody's does.
func (s *story) makeCluster(ctx context.Context) (string, error) {
	a := s.stage.a
	return "", inOrder(
		func() error { return a.runApp(ctx, "start") },
		func() error { return s.stage.ledger.grows(ctx, 1) },
		func() error { return s.makeKey(ctx) },
		func() error { return a.do(ctx, "init") },
		func() error { return a.serve(ctx) },
		// These hosts share a machine and poll every second: shorter patience.
		func() error { return a.do(ctx, "config", "set", "stop_timeout", "3s") },
		func() error { return a.do(ctx, "config", "set", "margin", "1s") },
		func() error { return a.do(ctx, "config", "set", "ttl", "10s") },
		func() error { return a.settles(ctx, report.StateActive) },
	)
}

func (s *story) makeKey(ctx context.Context) error {
	key, err := s.stage.a.run(ctx, "key", "generate")
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.stage.key, key, 0o600); err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	return nil
}

func (s *story) joinCluster(ctx context.Context) (string, error) {
	b, c := s.stage.b, s.stage.c
	return "", inOrder(
		func() error { return b.do(ctx, "join") },
		func() error { return b.serve(ctx) },
		func() error { return c.do(ctx, "join") },
		func() error { return c.serve(ctx) },
		func() error { return b.settles(ctx, report.StateInSync) },
		func() error { return c.settles(ctx, report.StateInSync) },
		func() error { return s.stage.a.knows(ctx, b, c) },
	)
}

func (s *story) backUp(ctx context.Context) (string, error) {
	begin := s.now()
	ref, err := replicate(ctx, s.stage.a, s.stage.b, s.stage.c)
	took := s.now().Sub(begin)
	if err != nil {
		return "", err
	}
	s.made = ref.ID
	all, err := query[[]control.BackupInfo](ctx, s.stage.a, "backups")
	if err != nil {
		return "", err
	}
	for _, b := range all {
		if b.ID == ref.ID {
			detail := fmt.Sprintf("%s, %s of it stored", humanize.IBytes(uint64(b.Size.Logical)), humanize.IBytes(uint64(b.Size.Stored)))
			s.figure("backup, verified on both standbys", took, detail)
			return detail, nil
		}
	}
	return "", fmt.Errorf("backup %s is not listed", ref.ID)
}

// replicate makes a backup and waits until the standbys have it.
func replicate(ctx context.Context, active *host, standbys ...*host) (backup.Ref, error) {
	ref, err := query[backup.Ref](ctx, active, "backup", "--reason", "demo")
	if err != nil {
		return ref, err
	}
	for _, h := range standbys {
		if err := h.caches(ctx, ref.ID); err != nil {
			return ref, err
		}
	}
	return ref, nil
}

func (s *story) rehearsed(ctx context.Context) (string, error) {
	return "", inOrder(
		func() error { return s.stage.b.rehearses(ctx, s.made) },
		func() error { return s.stage.c.rehearses(ctx, s.made) },
	)
}

func (s *story) bothTold(ctx context.Context) (string, error) {
	return "", inOrder(
		func() error { return s.stage.b.told(ctx) },
		func() error { return s.stage.c.told(ctx) },
	)
}

func (s *story) backupIsWhole(ctx context.Context) (string, error) {
	c := s.stage.c
	dir, err := c.restored(ctx, s.made)
	if err != nil {
		return "", err
	}
	found, err := c.check(ctx, dir, s.stage.ledger)
	if err == nil && found.Rows == 0 {
		err = errors.New("the backup is empty")
	}
	return fmt.Sprintf("%s rows", number(found.Rows)), err
}

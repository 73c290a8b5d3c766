package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/source"
)

// ErrNoSpace means that a file system has too little free space for what was
// asked. Nothing was begun, or what was begun has been removed.
var ErrNoSpace = errors.New("not enough free space")

// margin is what is left free, for the file system's own needs and for others.
const margin = 64 << 20

// fileSystem is the one that a folder lies on, or will.
type fileSystem struct {
	device uint64
	free   int64 // bytes that this user may still write
}

// statFS looks at the file system of path, or of the nearest parent that
// exists.
func statFS(path string) (fileSystem, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return fileSystem{}, fmt.Errorf("check free space: %w", err)
	}
	for {
		var st unix.Stat_t
		var sf unix.Statfs_t
		err := unix.Stat(path, &st)
		if err == nil {
			err = unix.Statfs(path, &sf)
		}
		parent := filepath.Dir(path)
		if errors.Is(err, fs.ErrNotExist) && parent != path {
			path = parent
			continue
		}
		if err != nil {
			return fileSystem{}, fmt.Errorf("check free space: %w", &os.PathError{Op: "statfs", Path: path, Err: err})
		}
		return fileSystem{device: uint64(st.Dev), free: int64(sf.Bavail) * int64(sf.Bsize)}, nil //nolint:unconvert // types differ between systems
	}
}

// noSpace says what is missing where.
func noSpace(folder string, need, free int64) error {
	return fmt.Errorf("%w in %s: %s needed (%s of it to stay free), %s available", ErrNoSpace, folder,
		humanize.IBytes(uint64(need+margin)), humanize.IBytes(margin), humanize.IBytes(uint64(max(free, 0))))
}

// makeRoom checks the free space for staging. If there is too little, the
// stages that are to be replaced give up theirs.
func (s *stager) makeRoom(ctx context.Context, p *plan, j *journal) error {
	err := s.fits(p)
	if !errors.Is(err, ErrNoSpace) || p.spare() == 0 {
		return err
	}
	j.Earlier = nil
	for _, part := range p.parts {
		if !part.keep {
			j.setStage(part.Source, part.entry, "")
		}
	}
	if err := s.journal.write(j, Staging); err != nil {
		return err
	}
	for i, part := range p.parts {
		if part.keep {
			continue
		}
		if err := s.set.do("swap back", part.Source, func() error { return freed(ctx, part.Source) }); err != nil {
			return err
		}
		p.parts[i].held = nil
	}
	if err := s.fits(p); err != nil {
		return errors.Join(err, s.settle(ctx, *j))
	}
	return nil
}

// need is what staging a source takes beside what is staged, as far as it is
// known before.
func (p *part) need() (folder string, bytes int64) {
	folder, bytes = p.Space(p.entry)
	switch _, advances := p.Source.(source.Advancer); {
	case p.keep:
		return folder, 0
	case advances && p.held != nil:
		_, there := p.Space(p.held.Entry)
		return folder, max(0, bytes-there)
	}
	return folder, bytes
}

// fits adds up what staging needs on each file system.
func (s *stager) fits(p *plan) error {
	type claim struct {
		need    int64
		free    int64
		folders []string
	}
	claims := make(map[uint64]*claim)
	var devices []uint64
	for _, part := range p.parts {
		folder, need := part.need()
		if need <= 0 {
			continue
		}
		fsys, err := s.statFS(folder)
		if err != nil {
			return fmt.Errorf("%s %s: %w", part.Kind(), part.Name(), err)
		}
		c := claims[fsys.device]
		if c == nil {
			c = &claim{}
			claims[fsys.device] = c
			devices = append(devices, fsys.device)
		}
		c.need += need
		c.free = fsys.free
		c.folders = append(c.folders, fmt.Sprintf("%s (%s)", folder, part.Name()))
	}
	for _, device := range devices {
		if c := claims[device]; c.free < c.need+margin {
			return noSpace(strings.Join(c.folders, ", "), c.need, c.free)
		}
	}
	return nil
}

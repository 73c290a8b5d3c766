package postgres

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
	"github.com/understudy-ha/understudy/backup/source/internal/program"
	"github.com/understudy-ha/understudy/backup/source/postgres/internal/archive"
)

// dumper dumps the database.
type dumper struct {
	name        string // of the source
	db          *database
	url         pgclient.URL // names the database, and who may dump it
	watch       *snapshotWatch
	lockTimeout time.Duration
	trusted     bool // a restore makes superusers of roles
}

func (d *dumper) dump(ctx context.Context, w *pack.Writer, prev *source.Previous) (source.Entry, error) {
	snap, err := d.open(ctx)
	if err != nil {
		return source.Entry{}, err
	}
	defer snap.close(ctx)
	pgDump, err := pgclient.FindTool(ctx, "pg_dump", snap.facts.Major)
	if err != nil {
		return source.Entry{}, err
	}
	snap.facts.Tool = pgDump.Major
	warnings, err := d.losses(ctx, snap, prev)
	if err != nil {
		return source.Entry{}, fmt.Errorf("look for what a dump does not keep: %w", err)
	}
	root, said, err := d.writeDump(ctx, w, pgDump, snap)
	if err != nil {
		return source.Entry{}, d.whyNot(ctx, snap, err)
	}
	snap.countNone(ctx)
	if open := snap.close(ctx); open > longSnapshot {
		warnings = append(warnings, fmt.Sprintf("the dump held its snapshot for %s: for so long the server could remove no dead row; is the way to the bucket slow?", open.Round(time.Second)))
	}
	return d.entry(ctx, w, snap, root, append(warnings, said...))
}

// entry writes the second stream and describes the dump.
func (d *dumper) entry(ctx context.Context, w *pack.Writer, snap *dumpSnapshot, root pack.Stream, warnings []string) (source.Entry, error) {
	raw, err := json.Marshal(snap.globals)
	if err != nil {
		return source.Entry{}, err
	}
	extra, err := w.Write(ctx, bytes.NewReader(raw), pack.Files)
	if err != nil {
		return source.Entry{}, err
	}
	facts, err := json.Marshal(snap.facts)
	if err != nil {
		return source.Entry{}, err
	}
	return source.Entry{
		Kind: kind, Name: d.name, Size: root.Size + extra.Size,
		Root: root, Extra: &extra, Facts: facts, Warnings: warnings,
	}, nil
}

// writeDump runs pg_dump. What it says though it succeeds is returned too: it
// names there what it leaves out.
func (d *dumper) writeDump(ctx context.Context, w *pack.Writer, t pgclient.Tool, snap *dumpSnapshot) (_ pack.Stream, said []string, err error) {
	out, err := program.Program{
		Argv: []string{
			t.Path, "--format=custom", "--compress=0", "--no-password", "--snapshot=" + snap.id,
			fmt.Sprintf("--lock-wait-timeout=%d", d.lockTimeout.Milliseconds()), "--dbname=" + snap.dumper.Public(),
		},
		Env: snap.dumper.Environ(snap.facts.Major),
	}.Start(ctx)
	if err != nil {
		return pack.Stream{}, nil, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	archive, err := archive.Timeless(out)
	if err != nil {
		return pack.Stream{}, nil, err
	}
	root, err := w.Write(ctx, archive, pack.Database)
	return root, remarks(out.Stderr.String()), err
}

package e2e

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/e2e/server"
)

// weights makes states of a size, for hosts whose application does nothing.
type weights struct {
	kind string
	pg   *server.PostgresServer // that all databases are on; nil: directories
}

// weight is one host's state.
type weight struct {
	application
	weights
	dir, db string
	more    string // of the YAML
}

func newWeight(t *testing.T, kind string) *weights {
	t.Helper()
	w := &weights{kind: kind}
	if kind == "postgres" {
		w.pg = server.Postgres(t)
	}
	return w
}

// host adds a host with an empty state.
func (w *weights) host(c *cluster, name, more string) *host {
	c.t.Helper()
	app := &weight{weights: *w, dir: filepath.Join(c.dir, name+"-app", "files"), db: "state_" + name[len(name)-1:], more: more}
	if err := os.MkdirAll(app.dir, 0o755); err != nil {
		c.t.Fatal(err)
	}
	if w.pg != nil {
		execute(c.t, w.pg.DSN("postgres"), "CREATE DATABASE "+app.db)
	}
	return c.host(name, app)
}

// config implements application.
func (w *weight) config() string {
	if w.pg != nil {
		return fmt.Sprintf("sources:\n  - {name: state, postgres: {url: %q, admin_url: %q}}\n", w.pg.DSN(w.db), w.pg.DSN("postgres")) + w.more
	}
	return fmt.Sprintf("sources:\n  - {name: state, directory: {path: %q}}\n", w.dir) + w.more
}

// stop implements application.
func (w *weight) stop(*testing.T) {}

// fill gives an application a state of about so many bytes.
func (w *weights) fill(t *testing.T, app *weight, size int64) {
	t.Helper()
	random := rand.NewChaCha8([32]byte{1})
	if w.pg == nil {
		fillDirectory(t, app.dir, size, random)
		return
	}
	conn, err := pgx.Connect(t.Context(), w.pg.DSN(app.db))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if _, err := conn.Exec(t.Context(), "CREATE TABLE state (id bigint PRIMARY KEY, text text)"); err != nil {
		t.Fatal(err)
	}
	rows := &rowSource{n: size >> 10, random: random}
	if _, err := conn.CopyFrom(t.Context(), pgx.Identifier{"state"}, []string{"id", "text"}, rows); err != nil {
		t.Fatal(err)
	}
}

// rowSource makes rows of about 1 KiB.
type rowSource struct {
	n, at  int64
	random *rand.ChaCha8
}

func (r *rowSource) Next() bool { r.at++; return r.at <= r.n }
func (r *rowSource) Err() error { return nil }
func (r *rowSource) Values() ([]any, error) {
	var b [496]byte
	for i := 0; i < len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], r.random.Uint64())
	}
	return []any{r.at, hex.EncodeToString(b[:])}, nil
}

// fillDirectory writes files of 256 KiB, 256 in a folder.
func fillDirectory(t *testing.T, dir string, size int64, random *rand.ChaCha8) {
	t.Helper()
	data := make([]byte, 256<<10)
	for i := range size / int64(len(data)) {
		folder := filepath.Join(dir, fmt.Sprint(i/256))
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := random.Read(data); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprint(i)), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// same checks that two hosts have as much.
func (w *weights) same(t *testing.T, x, y *host) {
	t.Helper()
	if a, b := w.extent(t, x), w.extent(t, y); a != b || a[0] == 0 {
		t.Fatalf("%s has %v, %s has %v", x.name, a, y.name, b)
	}
}

// extent is how many files or rows a host has, and how many bytes.
func (w *weights) extent(t *testing.T, h *host) (n [2]int64) {
	t.Helper()
	app := h.app.(*weight)
	if w.pg != nil {
		conn, err := pgx.Connect(t.Context(), w.pg.DSN(app.db))
		if err == nil {
			err = conn.QueryRow(t.Context(), "SELECT count(*), coalesce(sum(length(text)), 0) FROM state").Scan(&n[0], &n[1])
		}
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close(t.Context())
		return n
	}
	err := filepath.WalkDir(app.dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			n[0], n[1] = n[0]+1, n[1]+info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

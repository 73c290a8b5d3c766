package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/e2e/server"
)

// TestStoryPocketBase protects PocketBase as its own documentation sets it up,
// with all that it keeps in one folder, by one directory source, while clients
// write to its API: three switchovers and a failover. The standbys are blank.
func TestStoryPocketBase(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "file://"+t.TempDir(), nil)
	var all []application
	var addresses []string
	for i := range 3 {
		p := newPocketBase(t, filepath.Join(c.dir, fmt.Sprint("app-", i)))
		all, addresses = append(all, p), append(addresses, p.address)
	}
	first := all[0].(*pocketBase)
	token := first.setUp(t)
	first.newCollection(t, token)
	s := newStory(t, c, newPocketClient(t, addresses), all)
	s.setUp()
	s.switchover(s.a, s.b)
	s.failover(s.b, s.a)
	s.comeBack(s.b, s.a)
	s.switchover(s.a, s.b)
	s.switchover(s.b, s.a)
	s.a.app.(*pocketBase).sound(t)
}

// pocketBase is a PocketBase on one host, in its default layout.
type pocketBase struct {
	binary, dir, address string
}

func newPocketBase(t *testing.T, dir string) *pocketBase {
	t.Helper()
	p := &pocketBase{binary: server.PocketBase(t), dir: dir, address: server.FreeAddress(t)}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	p.script(t, "start", `
		[ -f pid ] && kill -0 "$(cat pid)" 2>/dev/null && exit 0
		echo started >>starts
		setsid "`+p.binary+`" serve --http `+p.address+` --dir pb_data >>log 2>&1 </dev/null &
		echo $! >pid`)
	p.script(t, "stop", `
		[ -f pid ] || exit 0
		kill "$(cat pid)" 2>/dev/null
		while kill -0 "$(cat pid)" 2>/dev/null; do sleep 0.02; done
		rm pid`)
	return p
}

func (p *pocketBase) script(t *testing.T, name, text string) {
	t.Helper()
	text = "#!/bin/sh\ncd '" + p.dir + "' || exit 1" + strings.ReplaceAll(text, "\n\t\t", "\n") + "\n"
	if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

func (p *pocketBase) data() string { return filepath.Join(p.dir, "pb_data") }

func (p *pocketBase) config() string {
	return fmt.Sprintf(`sources:
  - {name: pb_data, directory: {path: %q}}
hooks:
  promote: [%q]
  demote: [%q]
`, p.data(), filepath.Join(p.dir, "start"), filepath.Join(p.dir, "stop"))
}

// setUp makes the first user, starts PocketBase and signs in.
func (p *pocketBase) setUp(t *testing.T) (token string) {
	t.Helper()
	const name, password = "root@example.com", "one-two-three"
	if out, err := output(p.binary, "superuser", "upsert", name, password, "--dir", p.data()); err != nil {
		t.Fatalf("make the first user: %v\n%s", err, out)
	}
	if out, err := output(filepath.Join(p.dir, "start")); err != nil {
		t.Fatalf("start PocketBase: %v\n%s", err, out)
	}
	var session struct {
		Token string `json:"token"`
	}
	eventually(t, "signs in to PocketBase", func() error {
		return p.post(t.Context(), "_superusers/auth-with-password", "", map[string]any{"identity": name, "password": password}, &session)
	})
	return session.Token
}

// newCollection makes the collection that clients write to.
func (p *pocketBase) newCollection(t *testing.T, token string) {
	t.Helper()
	err := p.post(t.Context(), "", token, map[string]any{
		"name": "notes", "type": "base", "createRule": "",
		"fields": []map[string]any{
			{"name": "serial", "type": "number"}, {"name": "body", "type": "text"}, {"name": "document", "type": "file", "maxSelect": 1},
		},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
}

// post calls the API below /api/collections.
func (p *pocketBase) post(ctx context.Context, path, token string, body, answer any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return postCollections(ctx, p.address, path, token, "application/json", data, answer)
}

func postCollections(ctx context.Context, address, path, token, kind string, body []byte, answer any) error {
	url := strings.TrimSuffix("http://"+address+"/api/collections/"+path, "/")
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", kind)
	req.Header.Set("Authorization", token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("%s: %s: %s", url, resp.Status, data)
	case answer == nil:
		return nil
	}
	return json.Unmarshal(data, answer)
}

func (p *pocketBase) rows(t *testing.T) map[int64]string {
	t.Helper()
	return pocketRows(t, p.data())
}

func (p *pocketBase) restored(t *testing.T, dir string) map[int64]string {
	t.Helper()
	return pocketRows(t, filepath.Join(dir, "pb_data"))
}

// pocketRows reads the collection as it lies in a folder, with its documents.
func pocketRows(t *testing.T, dir string) map[int64]string {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "data.db")+"?mode=ro&_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.QueryContext(t.Context(), "SELECT n.serial, n.body, n.document, c.id || '/' || n.id FROM notes n, _collections c WHERE c.name = 'notes'")
	if err != nil {
		t.Fatalf("read the notes in %s: %v", dir, err)
	}
	defer rows.Close()
	have := map[int64]string{}
	for rows.Next() {
		var serial int64
		var body, document, folder string
		if err := rows.Scan(&serial, &body, &document, &folder); err != nil {
			t.Fatal(err)
		}
		var content []byte
		if document != "" {
			if content, err = os.ReadFile(filepath.Join(dir, "storage", folder, document)); err != nil {
				t.Errorf("the row %d points to a document that is not there: %v", serial, err)
			}
		}
		have[serial] = noteDigest(body, content)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return have
}

func noteDigest(body string, document []byte) string {
	sum := sha256.Sum256(append([]byte(body), document...))
	return hex.EncodeToString(sum[:])
}

// sound has SQLite look at both databases.
func (p *pocketBase) sound(t *testing.T) {
	t.Helper()
	for _, name := range []string{"data.db", "auxiliary.db"} {
		out, err := output("sqlite3", "-readonly", filepath.Join(p.data(), name), "PRAGMA integrity_check")
		if err != nil || strings.TrimSpace(string(out)) != "ok" {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

func (p *pocketBase) pid() string {
	pid, _ := os.ReadFile(filepath.Join(p.dir, "pid")) // none: it does not run
	return strings.TrimSpace(string(pid))
}

func (p *pocketBase) running(*testing.T) bool {
	pid := p.pid()
	return pid != "" && exec.Command("kill", "-0", pid).Run() == nil
}

func (p *pocketBase) starts(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, "starts"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Count(string(text), "started")
}

func (p *pocketBase) crash(t *testing.T) {
	t.Helper()
	if out, err := output("kill", "-KILL", p.pid()); err != nil {
		t.Fatalf("kill PocketBase: %v\n%s", err, out)
	}
}

func (p *pocketBase) revive(*testing.T) {}

func (p *pocketBase) stop(t *testing.T) {
	if out, err := output(filepath.Join(p.dir, "stop")); err != nil {
		t.Errorf("stop PocketBase: %v\n%s", err, out)
	}
}

// pocketClient writes to whichever PocketBase answers, one note after another,
// and remembers what it was told is kept.
type pocketClient struct {
	addresses []string

	mu    sync.Mutex
	acked []entry
}

func newPocketClient(t *testing.T, addresses []string) *pocketClient {
	t.Helper()
	c := &pocketClient{addresses: addresses}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for serial, at := int64(1), 0; ctx.Err() == nil; serial++ {
			if c.write(ctx, c.addresses[at%len(c.addresses)], serial) != nil {
				at++
			}
			select {
			case <-ctx.Done():
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return c
}

// write posts one note, every fourth with a document.
func (c *pocketClient) write(ctx context.Context, address string, serial int64) error {
	body, document := rand.Text(), []byte(nil)
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	fields := map[string]string{"serial": fmt.Sprint(serial), "body": body}
	for name, value := range fields {
		if err := w.WriteField(name, value); err != nil {
			return err
		}
	}
	if serial%4 == 0 {
		document = []byte(strings.Repeat(rand.Text(), 100))
		part, err := w.CreateFormFile("document", "note.txt")
		if err != nil {
			return err
		}
		if _, err := part.Write(document); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	if err := postCollections(ctx, address, "notes/records", "", w.FormDataContentType(), form.Bytes(), nil); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.acked = append(c.acked, entry{serial, noteDigest(body, document)})
	return nil
}

func (c *pocketClient) acknowledged(*testing.T) []entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]entry(nil), c.acked...)
}
